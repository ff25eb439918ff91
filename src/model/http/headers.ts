// Which headers of a request reach a guest, and which headers of a guest may reach a client.

export type RequestHead = {
  /** `name: value\r\n` lines, names in lower case, without hop-by-hop fields and without `content-length`. */
  text: string;
  /** From `content-length`; null if it is absent, NaN if it is not a number. */
  contentLength: number | null;
  /** The body comes in chunks, and its length is unknown. */
  isChunked: boolean;
  /** The client's own id as received; null if it sent none. */
  requestId: string | null;
  timingAsked: boolean;
};

export type RequestHeadOutcome =
  | { ok: true; head: RequestHead }
  | { ok: false; code: 'headers_too_large' | 'bad_request'; requestId: string | null };

/** Fields of a request that belong to one connection (RFC 9110, 7.6.1), or that only this listener may act on. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-authentication-info',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** Fields that a guest may set in good faith and the host sets anyway: a guest's are dropped, not refused. */
const HOST_OWNED: ReadonlySet<string> = new Set(['content-length', 'date', 'x-request-id']);

/**
 * Fields that no guest may set, by the reason; a name that ends in `*` is a prefix. A guest speaks for its own
 * answers: not for the connection, not for the host, and not to a proxy in front of the edge, which would
 * send files, fetch addresses, clear caches or take this node out of use. `is_forbidden` in native/request.c
 * has the same names.
 */
export const FORBIDDEN_FIELDS: Readonly<Record<string, readonly string[]>> = {
  'belongs to the connection': [
    'connection',
    'http2-settings',
    'keep-alive',
    'te',
    'trailer',
    'transfer-encoding',
    'upgrade',
  ],
  'is for proxies alone': ['proxy-*'],
  'is for the host alone': ['server-timing', 'x-edge-*'],
  'speaks for the whole host': ['alt-svc'],
  'gives orders to a proxy': [
    'x-accel-*',
    'x-envoy-*',
    'x-lighttpd-send-file',
    'x-litespeed-*',
    'x-reproxy-*',
    'x-sendfile*',
  ],
};

const FORBIDDEN = Object.entries(FORBIDDEN_FIELDS).flatMap(([reason, patterns]) =>
  patterns.map((pattern) => ({ pattern, reason })),
);
const FORBIDDEN_NAMES = new Map(FORBIDDEN.map(({ pattern, reason }) => [pattern, reason]));
const FORBIDDEN_PREFIXES = FORBIDDEN.filter(({ pattern }) => pattern.endsWith('*')).map(
  ({ pattern, reason }) => ({ prefix: pattern.slice(0, -1), reason }),
);

const FIELD_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,256}$/;
const FIELD_VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;
const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** Whether a client may choose this request id: short, and safe in a header, a log line and a trace. */
export function isRequestId(text: string): boolean {
  return REQUEST_ID.test(text);
}

/**
 * Reads the headers of a request in one pass. What `connection` names stays: a client could otherwise take
 * away what a proxy in front of the edge has added, such as the user that it has authenticated. Refuses more or larger ones than `bounds`, and a `host` with
 * several values, since two readers could pick different ones.
 */
export function readRequestHead(
  headers: Headers,
  bounds: { bytesMax: number; countMax: number },
): RequestHeadOutcome {
  let text = '';
  let count = 0;
  let bytes = 0;
  let contentLength: number | null = null;
  let isChunked = false;
  let requestId: string | null = null;
  let timingAsked = false;
  for (const [name, value] of headers) {
    count += 1;
    bytes += name.length + value.length + 4;
    switch (name) {
      case 'content-length':
        contentLength = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
        continue;
      case 'transfer-encoding':
        isChunked = true;
        continue;
      case 'host':
        if (value.includes(','))
          return { ok: false, code: 'bad_request', requestId: headers.get('x-request-id') };
        break;
      case 'x-request-id':
        requestId = value;
        if (!isRequestId(value)) continue;
        break;
      case 'x-edge-timing':
        timingAsked = value === '1';
        break;
      case 'expect':
        continue;
      default:
        if (HOP_BY_HOP.has(name)) continue;
    }
    text += `${name}: ${value}\r\n`;
  }
  if (count > bounds.countMax || bytes > bounds.bytesMax)
    return { ok: false, code: 'headers_too_large', requestId };
  return { ok: true, head: { text, contentLength, isChunked, requestId, timingAsked } };
}

/** Whether only the host sets this field; `name` is in lower case. */
export function isHostOwned(name: string): boolean {
  return HOST_OWNED.has(name);
}

function forbiddenReason(name: string): string | undefined {
  return (
    FORBIDDEN_NAMES.get(name) ?? FORBIDDEN_PREFIXES.find(({ prefix }) => name.startsWith(prefix))?.reason
  );
}

/**
 * What is wrong with one header of a guest's answer, for the log; null if it may be sent. A name is a token in
 * lower case, a value is one line of Latin-1 without blanks around it.
 */
export function refuseResponseHeader(name: string, value: string): string | null {
  if (!FIELD_NAME.test(name))
    return `header name ${JSON.stringify(name.slice(0, 64))} is not a token: use letters, digits and hyphens`;
  const reason = forbiddenReason(name);
  if (reason !== undefined) return `header "${name}" ${reason}: remove it`;
  if (FIELD_VALUE.test(value)) return null;
  return `the value of header "${name}" has a control character or blanks around it: send one trimmed line`;
}

/** What is wrong with the status of a guest's answer; null if it may be sent. */
export function refuseStatus(status: number): string | null {
  const isAllowed = Number.isInteger(status) && status >= 200 && status <= 599;
  return isAllowed ? null : `status ${status} is outside 200 to 599`;
}

/** What is wrong with the head of a guest's answer, for the log; null if it may be sent. */
export function refuseResponseHead(
  status: number,
  headers: readonly (readonly [name: string, value: string])[],
  bounds: { bytesMax: number; countMax: number },
): string | null {
  const wrongStatus = refuseStatus(status);
  if (wrongStatus !== null) return wrongStatus;
  if (headers.length > bounds.countMax) return `there are more than ${bounds.countMax} headers`;
  let bytes = 0;
  for (const [name, value] of headers) {
    bytes += name.length + value.length + 4;
    const refusal = refuseResponseHeader(name, value);
    if (refusal !== null) return refusal;
  }
  return bytes > bounds.bytesMax ? `${bytes} bytes of headers are more than ${bounds.bytesMax}` : null;
}
