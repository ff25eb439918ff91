// Idempotency keys: a POST that is sent again gets the response of the first time.
import { createHash } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/errors.ts';
import type { RandomBytes } from '../../base/id.ts';
import { CONTROL_BOUNDS, CONTROL_TUNING } from '../../base/limits/control.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { Store } from '../../store/store.ts';
import { bearerOf } from '../auth/auth.ts';
import { readBody } from './bodies.ts';
import { badFields } from './failures.ts';
import type { Handle } from './in_flight.ts';
import { seal, unseal } from './sealing.ts';
import { targetOf } from './target.ts';

export type Idempotency = {
  /**
   * Runs `handle` once per key and caller, with a copy of the request. The same request again waits for the
   * response or gets the stored one, with `idempotency-replayed: true`; another request under the key is
   * refused with `idempotency_conflict`. Responses of 5xx are not stored. Also refuses `validation_failed`
   * for a bad key, `request_too_large`, and `overloaded`.
   */
  run(request: Request, handle: Handle): Promise<Response>;
};

/** Whether the request asks for it; only a POST can. */
export function hasIdempotencyKey(request: Request): boolean {
  return request.method === 'POST' && request.headers.has('idempotency-key');
}

/** An upload of the largest artifact fits, whether raw or as a form. */
const BODY_BYTES_MAX = FUNCTION_BOUNDS.artifactBytesMax + CONTROL_BOUNDS.jsonBodyBytesMax;

/** What is sealed of a response; `type` is its content type. */
type Content = { type: string | null; body: string };
type StoredResponse = Content & { status: number };

/** One use of a key: `id` names key and caller, `requestDigest` what was sent under it. */
type Use = { id: string; token: string; requestDigest: string };

type Outcome = { response: StoredResponse; isReplay: boolean };

/**
 * Responses may hold secrets, such as join tokens and upload URLs. Each is sealed under a key derived from
 * the caller's token, of which the control plane stores only a hash: a copy of the database opens none.
 */
export function createIdempotency(options: {
  responses: Store['idempotency'];
  random: RandomBytes;
  clock: Clock;
}): Idempotency {
  const { responses, random, clock } = options;
  const running = new Map<string, { requestDigest: string; outcome: Promise<Outcome> }>();

  const read = async ({ id, token, requestDigest }: Use): Promise<StoredResponse | null> => {
    const row = await responses.get(id);
    if (row === null) return null;
    if (row.request_digest !== requestDigest) throw new CodedError('idempotency_conflict');
    const { type, body } = JSON.parse(unseal(row.sealed_body, { token, id })) as Content;
    return { status: row.status, type, body };
  };

  const write = async ({ id, token, requestDigest }: Use, response: StoredResponse): Promise<void> => {
    const { status, type, body } = response;
    await responses.put({
      id,
      request_digest: requestDigest,
      status,
      sealed_body: seal(JSON.stringify({ type, body }), { token, id }, random),
      expires_at_ms: clock.nowMs() + CONTROL_TUNING.idempotencyTtlMs,
    });
  };

  const runFirst = async (use: Use, handle: () => Promise<Response>): Promise<Outcome> => {
    const stored = await read(use);
    if (stored !== null) return { response: stored, isReplay: true };
    const response = await storedResponseOf(await handle());
    if (response.status < 500) await write(use, response);
    return { response, isReplay: false };
  };

  return {
    async run(request, handle) {
      const { id, token } = identify(request);
      const body = await readBody(request, BODY_BYTES_MAX);
      const requestDigest = digestOf(request, body);
      const first = running.get(id);
      if (first !== undefined) {
        if (first.requestDigest !== requestDigest) throw new CodedError('idempotency_conflict');
        const { response } = await first.outcome;
        return responseOf({ response, isReplay: true });
      }
      if (running.size >= CONTROL_BOUNDS.idempotentInFlightMax) throw new CodedError('overloaded');
      const outcome = runFirst({ id, token, requestDigest }, () => handle(copyOf(request, body)));
      running.set(id, { requestDigest, outcome });
      try {
        return responseOf(await outcome);
      } finally {
        running.delete(id);
      }
    },
  };
}

const KEY = /^[\x21-\x7e]+$/;

function identify(request: Request): { id: string; token: string } {
  const key = request.headers.get('idempotency-key') ?? '';
  if (!KEY.test(key) || key.length > CONTROL_BOUNDS.idempotencyKeyLengthMax) {
    const lengthMax = CONTROL_BOUNDS.idempotencyKeyLengthMax;
    const message = `must be 1 to ${lengthMax} printable ASCII characters without spaces`;
    throw badFields({ field: 'idempotency-key', message });
  }
  const token = bearerOf(request) ?? '';
  return { token, id: createHash('sha256').update(`${token}\n${key}`).digest('hex') };
}

function digestOf(request: Request, body: Uint8Array): string {
  const { path, query } = targetOf(request);
  const head = `${request.method}\n${path}\n${query}\n`;
  return createHash('sha256').update(head).update(body).digest('hex');
}

/** The request with its body, which was read, to be read again. */
function copyOf(request: Request, body: Uint8Array<ArrayBuffer>): Request {
  const { url, method, headers, signal } = request;
  return new Request(url, { method, headers, signal, body });
}

async function storedResponseOf(response: Response): Promise<StoredResponse> {
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() };
}

function responseOf({ response, isReplay }: Outcome): Response {
  const { status, type, body } = response;
  const headers = new Headers();
  if (type !== null) headers.set('content-type', type);
  if (isReplay) headers.set('idempotency-replayed', 'true');
  return new Response(body === '' ? null : body, { status, headers });
}
