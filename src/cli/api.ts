// The client of the public API: bearer token, bounded answers checked by schema, retries that are safe to
// repeat.
import type { Static, TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { Clock } from '../base/clock.ts';
import { retry } from '../base/retry.ts';
import { CliFailure } from './failure.ts';
import type { Target } from './profile.ts';

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** `random` is in [0, 1); `createKey` makes an idempotency key, one per call and the same for its retries. */
export type ApiOptions = {
  target: Target;
  fetch: Fetch;
  clock: Clock;
  random: () => number;
  createKey: () => string;
};

export type Api = {
  readonly edgeUrl: string | null;
  get<S extends TSchema>(path: string, schema: S): Promise<Static<S>>;
  post<S extends TSchema>(path: string, body: unknown, schema: S): Promise<Static<S>>;
  delete(path: string): Promise<void>;
  /** PUTs bytes to a signed URL, which needs no token; `open` is called again for every attempt. */
  put(url: string, open: OpenBody): Promise<void>;
};

export type OpenBody = () => { stream: ReadableStream<Uint8Array>; bytes: number };

const ATTEMPTS_MAX = 4;
const DELAY_MS_MIN = 200;
const DELAY_MS_MAX = 2_000;
const REQUEST_MS_MAX = 60_000;
const UPLOAD_MS_MAX = 600_000;
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
const API_PATH = '/api/v1';

/** A failure that the same request may survive: nobody answered, or the answer said so. */
class Retryable extends Error {
  readonly failure: CliFailure;

  constructor(failure: CliFailure) {
    super(failure.message);
    this.name = 'Retryable';
    this.failure = failure;
  }
}

export function createApi(options: ApiOptions): Api {
  const { target } = options;
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const headers: Record<string, string> = {
      authorization: `Bearer ${target.token}`,
      accept: 'application/json',
    };
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (method === 'POST') headers['idempotency-key'] = options.createKey();
    const text = await attempt(options, () => {
      const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
      const signal = AbortSignal.timeout(REQUEST_MS_MAX);
      return send(options, `${target.url}${API_PATH}${path}`, { ...init, signal });
    });
    return text === '' ? null : parsed(text);
  };
  const checked = <S extends TSchema>(schema: S, answer: unknown): Static<S> => {
    if (Value.Check(schema, answer)) return answer;
    throw new CliFailure(
      'bad_answer',
      `What answers at ${target.url} is not a control plane of this version.`,
    );
  };
  return {
    edgeUrl: target.edgeUrl,
    get: async (path, schema) => checked(schema, await call('GET', path)),
    post: async (path, body, schema) => checked(schema, await call('POST', path, body)),
    delete: async (path) => void (await call('DELETE', path)),
    async put(url, open) {
      await attempt(options, () => {
        const { stream, bytes } = open();
        const headers = { 'content-type': 'application/wasm', 'content-length': String(bytes) };
        const signal = AbortSignal.timeout(UPLOAD_MS_MAX);
        return send(options, new URL(url, `${target.url}/`).href, {
          method: 'PUT',
          headers,
          body: stream,
          signal,
        });
      });
    },
  };
}

async function attempt<T>(options: ApiOptions, step: () => Promise<T>): Promise<T> {
  try {
    return await retry(step, {
      attemptsMax: ATTEMPTS_MAX,
      delayMsMin: DELAY_MS_MIN,
      delayMsMax: DELAY_MS_MAX,
      clock: options.clock,
      random: options.random,
      isRetryable: (failure) => failure instanceof Retryable,
    });
  } catch (failure) {
    throw failure instanceof Retryable ? failure.failure : failure;
  }
}

async function send(options: ApiOptions, url: string, init: RequestInit): Promise<string> {
  let response: Response;
  let text: string;
  try {
    response = await options.fetch(url, { ...init, redirect: 'error' });
    text = await readBounded(response);
  } catch (failure) {
    if (failure instanceof CliFailure) throw failure;
    throw new Retryable(
      new CliFailure('cp_unreachable', `${new URL(url).origin} does not answer: ${reason(failure)}`),
    );
  }
  if (response.ok) return text;
  const { failure, isRetryable } = refusal(response.status, text);
  throw isRetryable ? new Retryable(failure) : failure;
}

async function readBounded(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > ANSWER_BYTES_MAX)
      throw new CliFailure('bad_answer', 'The answer is larger than any of a control plane.');
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** The API's error body, or a sentence about the status where it is not one. */
function refusal(status: number, text: string): { failure: CliFailure; isRetryable: boolean } {
  const body = parsed(text);
  const error = isRecord(body) && isRecord(body['error']) ? body['error'] : {};
  const { code, message, retryable, details } = error;
  const isRetryable =
    typeof retryable === 'boolean' ? retryable && status !== 409 : status === 502 || status === 503;
  if (typeof code !== 'string' || typeof message !== 'string') {
    return {
      failure: new CliFailure('bad_answer', `The control plane answered ${status} without saying why.`),
      isRetryable,
    };
  }
  return { failure: new CliFailure(code, `${message}${facts(details)}`), isRetryable };
}

/**
 * The details of an error as `name: value` after its sentence; fields of a refused body are listed one by
 * one.
 */
function facts(details: unknown): string {
  if (!isRecord(details)) return '';
  const parts = Object.entries(details).map(([name, held]) => {
    if (!Array.isArray(held)) return `${name}: ${typeof held === 'string' ? held : JSON.stringify(held)}`;
    const items = held.slice(0, 8).map((item: unknown) => {
      if (!isRecord(item)) return String(item);
      return Object.values(item).map(String).join(': ');
    });
    return `${name}: ${items.join(', ')}`;
  });
  return parts.length === 0 ? '' : ` (${parts.join('; ').slice(0, 1_000)})`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function reason(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure);
  if (failure.name === 'TimeoutError') return 'no answer in time';
  const code = 'code' in failure ? failure.code : null;
  return code === 'ConnectionRefused' || code === 'ECONNREFUSED' ? 'nothing listens there' : failure.message;
}
