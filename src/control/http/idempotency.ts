// Idempotency keys: a user's POST that is sent again gets the answer of the first time.
import { createCipheriv, createDecipheriv, createHash, hkdfSync } from 'node:crypto';
import { CodedError } from '../../base/errors.ts';
import type { RandomBytes } from '../../base/id.ts';
import { CONTROL_BOUNDS, CONTROL_TUNING } from '../../base/limits/control.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { IdempotencyOperations, StoredResponse } from '../../store/idempotency.ts';
import { bearerOf } from '../auth/access.ts';
import { readBody } from './bodies.ts';
import { pathOf } from './calls.ts';

const KEY = /^[\x21-\x7e]+$/;

/** `handle` gets a request whose body can be read again. */
export type Idempotency = {
  /**
   * Runs `handle` once per key and caller. While it runs, the same request waits for its answer; afterwards
   * it gets the stored one with `idempotency-replayed: true`. Another request under the key is refused with
   * `idempotency_conflict`. Answers of 5xx are not kept.
   */
  run(request: Request, handle: (request: Request) => Promise<Response>): Promise<Response>;
};

type Flight = { requestDigest: string; answer: Promise<Answer> };
type Answer = { status: number; type: string | null; body: string };

/** Whether the key applies: a POST of a user that carries one. */
export function hasIdempotencyKey(request: Request): boolean {
  return request.method === 'POST' && request.headers.has('idempotency-key');
}

/**
 * Answers may hold secrets (join tokens, upload URLs). They are kept sealed with AES-256-GCM under a key that
 * is derived from the caller's token, which the control plane itself keeps only as a digest: a copy of the
 * database opens none.
 */
export function createIdempotency(options: {
  answers: IdempotencyOperations;
  random: RandomBytes;
  nowMs: () => number;
}): Idempotency {
  const { answers, random, nowMs } = options;
  const flights = new Map<string, Flight>();
  return {
    async run(request, handle) {
      const { id, token } = identify(request);
      const body = await readBody(
        request,
        FUNCTION_BOUNDS.artifactBytesMax + CONTROL_BOUNDS.jsonBodyBytesMax,
      );
      const requestDigest = digestOf(request, body);
      const flight = flights.get(id);
      if (flight !== undefined) {
        if (flight.requestDigest !== requestDigest) throw new CodedError('idempotency_conflict');
        return replay(await flight.answer);
      }
      if (flights.size >= CONTROL_BOUNDS.idempotentInFlightMax) throw new CodedError('overloaded');
      const settle = Promise.withResolvers<Answer>();
      settle.promise.catch(() => undefined);
      flights.set(id, { requestDigest, answer: settle.promise });
      try {
        const stored = await answers.get(id);
        if (stored !== null) {
          if (stored.request_digest !== requestDigest) throw new CodedError('idempotency_conflict');
          const answer = { status: stored.status, ...open(stored.sealed_body, token, id) };
          settle.resolve(answer);
          return replay(answer);
        }
        const response = await handle(copyOf(request, body));
        const answer = await answerOf(response);
        if (answer.status < 500) {
          const sealed_body = seal({ type: answer.type, body: answer.body }, token, id, random);
          const expires_at_ms = nowMs() + CONTROL_TUNING.idempotencyTtlMs;
          const row: StoredResponse = {
            id,
            request_digest: requestDigest,
            status: answer.status,
            sealed_body,
            expires_at_ms,
          };
          await answers.put(row);
        }
        settle.resolve(answer);
        return responseOf(answer, {});
      } catch (failure) {
        settle.reject(failure);
        throw failure;
      } finally {
        flights.delete(id);
      }
    },
  };
}

function identify(request: Request): { id: string; token: string } {
  const key = request.headers.get('idempotency-key') ?? '';
  if (!KEY.test(key) || key.length > CONTROL_BOUNDS.idempotencyKeyLengthMax) {
    const message = `must be 1 to ${CONTROL_BOUNDS.idempotencyKeyLengthMax} printable characters`;
    throw new CodedError('validation_failed', {
      details: { fields: [{ field: 'idempotency-key', message }] },
    });
  }
  const token = bearerOf(request) ?? '';
  return { token, id: createHash('sha256').update(`${token}\n${key}`).digest('hex') };
}

function digestOf(request: Request, body: Uint8Array): string {
  const query = new URL(request.url).search;
  const head = `${request.method}\n${pathOf(request)}\n${query}\n`;
  return createHash('sha256').update(head).update(body).digest('hex');
}

function copyOf(request: Request, body: Uint8Array<ArrayBuffer>): Request {
  const { url, method, headers, signal } = request;
  return new Request(url, { method, headers, signal, body });
}

async function answerOf(response: Response): Promise<Answer> {
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() };
}

function responseOf(answer: Answer, headers: Record<string, string>): Response {
  const type = answer.type === null ? {} : { 'content-type': answer.type };
  const body = answer.body === '' ? null : answer.body;
  return new Response(body, { status: answer.status, headers: { ...type, ...headers } });
}

function replay(answer: Answer): Response {
  return responseOf(answer, { 'idempotency-replayed': 'true' });
}

type Sealed = { type: string | null; body: string };

function sealingKey(token: string, id: string): Buffer {
  return Buffer.from(hkdfSync('sha256', token, id, 'edge idempotency answer', 32));
}

/** Twelve bytes of nonce, sixteen of tag, then the text; base64url. */
function seal(content: Sealed, token: string, id: string, random: RandomBytes): string {
  const nonce = random(12);
  const cipher = createCipheriv('aes-256-gcm', sealingKey(token, id), nonce);
  const text = Buffer.concat([cipher.update(JSON.stringify(content), 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64url');
}

function open(sealed: string, token: string, id: string): Sealed {
  const bytes = Buffer.from(sealed, 'base64url');
  const decipher = createDecipheriv('aes-256-gcm', sealingKey(token, id), bytes.subarray(0, 12));
  decipher.setAuthTag(bytes.subarray(12, 28));
  const text = Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8');
  return JSON.parse(text) as Sealed;
}
