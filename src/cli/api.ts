// The client of the public API: bearer token, bounded answers checked by schema, safe retries.
import type { Static, TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { Clock } from '../base/clock.ts';
import { retry } from '../base/retry.ts';
import { readStream } from '../base/streams.ts';
import { CliFailure } from './failure.ts';
import type { Connection } from './profile.ts';

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export type ApiOptions = {
  connection: Connection;
  fetch: Fetch;
  clock: Clock;
  /** In [0, 1), for jitter. */
  random: () => number;
  /** Names this run of a command: its mutations get it as their idempotency key, with a number each. */
  commandKey: string;
};

/** Every call throws a CliFailure with the code of the API, or one of the CLI's own. */
export type Api = {
  /** Where functions answer; null where it is not known. */
  readonly edgeUrl: string | null;
  get<S extends TSchema>(path: string, schema: S): Promise<Static<S>>;
  post<S extends TSchema>(path: string, body: unknown, schema: S): Promise<Static<S>>;
  patch<S extends TSchema>(path: string, body: unknown, schema: S): Promise<Static<S>>;
  delete(path: string): Promise<void>;
  /** Sends bytes to a signed URL, without the token; calls `open` for every attempt. */
  put(url: string, open: OpenBody): Promise<void>;
};

/** A body from its first byte, and its length. */
export type OpenBody = () => { stream: ReadableStream<Uint8Array>; bytes: number };

/** Attempts of a request that nobody has received, or that was answered. */
const ATTEMPTS_MAX = 4;
/** How long a request whose answer was lost is repeated: a control plane that restarts takes less. */
const LOST_MS_MAX = 30_000;
const DELAY_MS_MIN = 200;
const DELAY_MS_MAX = 2_000;
const REQUEST_MS_MAX = 60_000;
const UPLOAD_MS_MAX = 600_000;
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
const API_PATH = '/api/v1';

/**
 * A failure after which the same request may succeed: no answer, or an answer that says so. `isLost`: the
 * request may have been received, so only its repetition tells what came of it.
 */
class Retryable extends Error {
  readonly failure: CliFailure;
  readonly isLost: boolean;

  constructor(failure: CliFailure, { isLost }: { isLost: boolean }) {
    super(failure.message);
    this.name = 'Retryable';
    this.failure = failure;
    this.isLost = isLost;
  }
}

export function createApi(options: ApiOptions): Api {
  const { connection, commandKey } = options;
  let mutations = 0;
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const headers: Record<string, string> = {
      authorization: `Bearer ${connection.token}`,
      accept: 'application/json',
    };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const isMutation = method !== 'GET';
    if (isMutation) headers['idempotency-key'] = `${commandKey}-${(mutations += 1)}`;
    const text = await attempt(options, { isMutation }, () => {
      const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
      const signal = AbortSignal.timeout(REQUEST_MS_MAX);
      return send(options, `${connection.url}${API_PATH}${path}`, { ...init, signal });
    });
    return text === '' ? null : parseJson(text);
  };
  const checked = <S extends TSchema>(schema: S, answer: unknown): Static<S> => {
    if (Value.Check(schema, answer)) return answer;
    throw new CliFailure('bad_answer', `${connection.url} is not a control plane of this version.`);
  };
  return {
    edgeUrl: connection.edgeUrl,
    get: async (path, schema) => checked(schema, await call('GET', path)),
    post: async (path, body, schema) => checked(schema, await call('POST', path, body)),
    patch: async (path, body, schema) => checked(schema, await call('PATCH', path, body)),
    delete: async (path) => void (await call('DELETE', path)),
    async put(url, open) {
      await attempt(options, { isMutation: true }, () => {
        const { stream, bytes } = open();
        const headers = { 'content-type': 'application/wasm', 'content-length': String(bytes) };
        const signal = AbortSignal.timeout(UPLOAD_MS_MAX);
        return send(options, new URL(url, `${connection.url}/`).href, {
          method: 'PUT',
          headers,
          body: stream,
          signal,
        });
      });
    },
  };
}

async function attempt<T>(
  { clock, random, connection }: ApiOptions,
  { isMutation }: { isMutation: boolean },
  step: () => Promise<T>,
): Promise<T> {
  let attempts = 0;
  let lostMs: number | null = null;
  const isRetryable = (failure: unknown): boolean => {
    if (!(failure instanceof Retryable)) return false;
    attempts += 1;
    if (failure.isLost) lostMs ??= clock.monotonicMs();
    return lostMs === null ? attempts < ATTEMPTS_MAX : clock.monotonicMs() - lostMs < LOST_MS_MAX;
  };
  const delays = { delayMsMin: DELAY_MS_MIN, delayMsMax: DELAY_MS_MAX };
  const attemptsMax = Number.POSITIVE_INFINITY;
  try {
    return await retry(step, { ...delays, attemptsMax, clock, random, isRetryable });
  } catch (failure) {
    if (!(failure instanceof Retryable)) throw failure;
    if (lostMs === null || !isMutation) throw failure.failure;
    const seconds = LOST_MS_MAX / 1_000;
    const message = `${connection.url} took a request, and its answer was lost: it may have been done.`;
    throw new CliFailure('outcome_unknown', `${message} It was repeated for ${seconds} s in vain.`);
  }
}

async function send(options: ApiOptions, url: string, init: RequestInit): Promise<string> {
  const { origin } = new URL(url);
  const unreachable = (failure: unknown): CliFailure =>
    new CliFailure('cp_unreachable', `${origin} does not answer: ${reasonOf(failure)}.`);
  let response: Response;
  try {
    response = await options.fetch(url, { ...init, redirect: 'error' });
  } catch (failure) {
    throw new Retryable(unreachable(failure), { isLost: isLoss(failure) });
  }
  let text: string;
  try {
    text = await readText(response);
  } catch (failure) {
    if (failure instanceof CliFailure) throw failure;
    throw new Retryable(unreachable(failure), { isLost: true });
  }
  if (response.ok) return text;
  const { failure, isRetryable } = refusal(response.status, text);
  throw isRetryable ? new Retryable(failure, { isLost: false }) : failure;
}

/** What `fetch` reports when a connection ends, or says nothing, after the request was sent. */
const LOSSES = new Set(['ECONNRESET', 'EPIPE', 'ConnectionClosed', 'ConnectionReset', 'SocketClosed']);

function isLoss(failure: unknown): boolean {
  if (!(failure instanceof Error)) return false;
  return failure.name === 'TimeoutError' || ('code' in failure && LOSSES.has(String(failure.code)));
}

async function readText(response: Response): Promise<string> {
  const bytes = await readStream(response.body, ANSWER_BYTES_MAX);
  if (bytes !== null) return new TextDecoder().decode(bytes);
  const message = `The control plane answered with more than ${ANSWER_BYTES_MAX} bytes.`;
  throw new CliFailure('bad_answer', message);
}

/** Codes whose message holds all that the details say. */
const SAID_BY_MESSAGE: ReadonlySet<string> = new Set(['selector_invalid']);

/** The failure of an error body, or of the status where there is none. */
function refusal(status: number, text: string): { failure: CliFailure; isRetryable: boolean } {
  const body = parseJson(text);
  const error = isRecord(body) && isRecord(body['error']) ? body['error'] : {};
  const { code, message, retryable, details } = error;
  const isRetryable =
    typeof retryable === 'boolean' ? retryable && status !== 409 : status === 502 || status === 503;
  if (typeof code !== 'string' || typeof message !== 'string') {
    const message = `The control plane answered with status ${status} and no error code.`;
    return { failure: new CliFailure('bad_answer', message), isRetryable };
  }
  const facts = SAID_BY_MESSAGE.has(code) ? '' : describeDetails(details);
  return { failure: new CliFailure(code, `${message}${facts}`), isRetryable };
}

/** The details of an error as ` (name: value; …)`, at most 1000 characters of them. */
function describeDetails(details: unknown): string {
  if (!isRecord(details)) return '';
  const parts = Object.entries(details).map(([name, value]) => {
    if (!Array.isArray(value)) return `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`;
    const items = value.slice(0, 8).map((item: unknown) => {
      if (!isRecord(item)) return String(item);
      return Object.values(item).map(String).join(': ');
    });
    return `${name}: ${items.join(', ')}`;
  });
  return parts.length === 0 ? '' : ` (${parts.join('; ').slice(0, 1_000)})`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function reasonOf(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure);
  if (failure.name === 'TimeoutError') return 'no answer in time';
  const code = 'code' in failure ? failure.code : null;
  return code === 'ConnectionRefused' || code === 'ECONNREFUSED' ? 'nothing listens there' : failure.message;
}
