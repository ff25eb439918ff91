// Idempotency keys: a mutation that is sent again gets the answer that was committed with it.
import { createHash } from 'node:crypto';
import { CodedError } from '../../base/errors.ts';
import type { RandomBytes } from '../../base/id.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { KeptAnswer } from '../../store/idempotency.ts';
import type { Store } from '../../store/store.ts';
import { bearerOf } from '../auth/auth.ts';
import { readBody } from './bodies.ts';
import { badFields } from './failures.ts';
import type { Keep } from './request_context.ts';
import { seal, unseal } from './sealing.ts';
import { targetOf } from './target.ts';

export type Idempotency = {
  /**
   * Runs `handle` with a copy of the request unless an answer is kept under its key: then the answer is that
   * one, with `idempotency-replayed: true`. The same request at the same time waits for the answer of the
   * first; another request under the key is refused with `idempotency_conflict`. What the mutation of the
   * request does not commit is not kept: a refusal or a failure leaves the key free. Also refuses
   * `validation_failed` for a bad key, `request_too_large`, and `overloaded`.
   */
  run(request: Request, handle: (copy: Request, keep: Keep) => Promise<Response>): Promise<Response>;
};

/** The methods of mutations; a presigned PUT needs no key, since the same bytes change nothing twice. */
const METHODS = new Set(['POST', 'PATCH', 'DELETE']);

/** Whether the request asks for it. */
export function hasIdempotencyKey(request: Request): boolean {
  return METHODS.has(request.method) && request.headers.has('idempotency-key');
}

/** An upload of the largest artifact fits, whether raw or as a form. */
const BODY_BYTES_MAX = FUNCTION_BOUNDS.artifactBytesMax + CONTROL_BOUNDS.jsonBodyBytesMax;

/** An answer as it is sent: `type` is its content type, null where it has no body. A refusal may have the rest. */
type Content = { status: number; type: string | null; body: string; retryAfter?: string | null };

/** One use of a key: `id` names key and caller, `requestDigest` what was sent under it. */
type Use = { id: string; token: string; requestDigest: string };

/**
 * Answers may hold secrets, such as join tokens and upload URLs. Each is sealed under a key derived from the
 * caller's token, of which the control plane stores only a hash: a copy of the database opens none.
 */
export function createIdempotency(options: {
  answers: Pick<Store['idempotency'], 'get'>;
  random: RandomBytes;
}): Idempotency {
  const { answers, random } = options;
  const running = new Map<string, { requestDigest: string; answer: Promise<Content> }>();

  const read = async (use: Use): Promise<Content | null> => {
    const row = await answers.get(use.id);
    return row === null ? null : contentOf(row, use);
  };

  const runFirst = async (
    use: Use,
    handle: (keep: Keep) => Promise<Response>,
  ): Promise<{ answer: Content; isReplay: boolean }> => {
    const kept = await read(use);
    if (kept !== null) return { answer: kept, isReplay: true };
    return { answer: await readAnswer(await handle(keepOf(use, random))), isReplay: false };
  };

  return {
    async run(request, handle) {
      const { id, token } = identify(request);
      const body = await readBody(request, BODY_BYTES_MAX);
      const use = { id, token, requestDigest: digestOf(request, body) };
      const first = running.get(id);
      if (first !== undefined) {
        if (first.requestDigest !== use.requestDigest) throw new CodedError('idempotency_conflict');
        return responseOf(await first.answer, { isReplay: true });
      }
      if (running.size >= CONTROL_BOUNDS.idempotentInFlightMax) throw new CodedError('overloaded');
      const outcome = runFirst(use, (keep) => handle(copyOf(request, body), keep));
      const answer = outcome.then((one) => one.answer);
      answer.catch(() => undefined);
      running.set(id, { requestDigest: use.requestDigest, answer });
      try {
        const { isReplay } = await outcome;
        return responseOf(await answer, { isReplay });
      } finally {
        running.delete(id);
      }
    },
  };
}

/** The content type that the router gives to JSON. */
const JSON_TYPE = 'application/json;charset=utf-8';

/** Seals what the router makes of a reply: JSON, or no body. */
function keepOf({ id, token, requestDigest }: Use, random: RandomBytes): Keep {
  return ({ code, response }) => {
    const isEmpty = response === undefined || response === null;
    const content: Omit<Content, 'status'> = isEmpty
      ? { type: null, body: '' }
      : { type: JSON_TYPE, body: JSON.stringify(response) };
    const sealed_body = seal(JSON.stringify(content), { token, id }, random);
    return { id, request_digest: requestDigest, status: code, sealed_body };
  };
}

function contentOf(row: KeptAnswer, { id, token, requestDigest }: Use): Content {
  if (row.request_digest !== requestDigest) throw new CodedError('idempotency_conflict');
  const content = JSON.parse(unseal(row.sealed_body, { token, id })) as Omit<Content, 'status'>;
  return { status: row.status, ...content };
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
  return new Request(url, { method, headers, signal, ...(body.byteLength === 0 ? {} : { body }) });
}

async function readAnswer(response: Response): Promise<Content> {
  const { status, headers } = response;
  const retryAfter = headers.get('retry-after');
  return { status, type: headers.get('content-type'), body: await response.text(), retryAfter };
}

function responseOf(content: Content, { isReplay }: { isReplay: boolean }): Response {
  const { status, type, body, retryAfter = null } = content;
  const headers = new Headers();
  if (retryAfter !== null) headers.set('retry-after', retryAfter);
  if (type !== null) headers.set('content-type', type);
  if (isReplay) headers.set('idempotency-replayed', 'true');
  return new Response(body === '' ? null : body, { status, headers });
}
