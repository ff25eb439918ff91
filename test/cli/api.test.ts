// The API client: what it sends, which answers it accepts, and when it retries.
import { describe, expect, test } from 'bun:test';
import { Type } from '@sinclair/typebox';
import { createManualClock } from '../../src/base/clock.ts';
import { errorResponse } from '../../src/base/errors.ts';
import { type Api, createApi } from '../../src/cli/api.ts';
import { createBody } from '../../src/cli/upload.ts';

const Answer = Type.Object({ ok: Type.Boolean() });

type Step = () => Response;

/** A client whose requests get the answers of `steps` in order; `sent` records the requests. */
function scripted(steps: Step[]): { api: Api; sent: { url: string; headers: Headers; body: unknown }[] } {
  const sent: { url: string; headers: Headers; body: unknown }[] = [];
  const manual = createManualClock();
  const clock = { ...manual, sleep: (ms: number) => manual.advance(ms) };
  const api = createApi({
    connection: { url: 'http://cp', token: 'secret', edgeUrl: null },
    fetch: (url, init) => {
      sent.push({ url, headers: new Headers(init.headers), body: init.body });
      const step = steps[sent.length - 1];
      if (step === undefined) throw new Error('one request too many');
      return Promise.try(step);
    },
    clock,
    random: () => 0.5,
    commandKey: 'key',
  });
  return { api, sent };
}

const ok: Step = () => Response.json({ ok: true });
const refused: Step = () => {
  throw Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
};
const lost: Step = () => {
  throw Object.assign(new Error('The socket connection was closed unexpectedly.'), { code: 'ECONNRESET' });
};
const busy: Step = () => errorResponse('overloaded', 'r');

describe('A call', () => {
  test('carries the token, and a mutation a key of its command that its retries repeat', async () => {
    const { api, sent } = scripted([
      refused,
      busy,
      ok,
      ok,
      lost,
      () => new Response(null, { status: 204 }),
      ok,
    ]);
    expect(await api.post('/a', { b: 1 }, Answer)).toEqual({ ok: true });
    await api.post('/a', { b: 1 }, Answer);
    await api.delete('/a');
    await api.get('/a', Answer);
    expect(sent.map(({ headers }) => headers.get('idempotency-key'))).toEqual([
      'key-1',
      'key-1',
      'key-1',
      'key-2',
      'key-3',
      'key-3',
      null,
    ]);
    expect(sent[0]?.url).toBe('http://cp/api/v1/a');
    expect(sent[0]?.headers.get('authorization')).toBe('Bearer secret');
  });

  test('fails after four attempts, with a message that names the control plane', async () => {
    const { api, sent } = scripted([refused, refused, refused, refused]);
    await expect(api.get('/a', Answer)).rejects.toMatchObject({
      code: 'cp_unreachable',
      message: 'http://cp does not answer: nothing listens there.',
    });
    expect(sent).toHaveLength(4);
  });

  test('whose answer was lost is repeated while its control plane restarts', async () => {
    const restarting = Array.from({ length: 20 }, () => refused);
    const { api, sent } = scripted([lost, ...restarting, ok]);
    expect(await api.post('/a', {}, Answer)).toEqual({ ok: true });
    expect(new Set(sent.map(({ headers }) => headers.get('idempotency-key')))).toEqual(new Set(['key-1']));
  });

  test('whose answer was lost for good says that it may have been done', async () => {
    const { api } = scripted([lost, ...Array.from({ length: 500 }, () => refused)]);
    await expect(api.post('/a', {}, Answer)).rejects.toMatchObject({ code: 'outcome_unknown' });
    const { api: reader } = scripted([lost, ...Array.from({ length: 500 }, () => refused)]);
    await expect(reader.get('/a', Answer)).rejects.toMatchObject({ code: 'cp_unreachable' });
  });

  test.each([
    ['unauthenticated', {}, 'A valid token is needed.'],
    ['function_not_found', {}, 'There is no such function.'],
    [
      'validation_failed',
      {
        fields: [
          { field: 'name', message: 'is too long' },
          { field: 'env', message: 'is bad' },
        ],
      },
      'The request has bad fields. (fields: name: is too long, env: is bad)',
    ],
    ['forbidden_import', { import: 'env.x', offset: 12 }, 'offer. (import: env.x; offset: 12)'],
  ] as const)(
    'that is refused with %s is not retried and fails with that code',
    async (code, details, message) => {
      const { api, sent } = scripted([() => errorResponse(code, 'r', { details })]);
      await expect(api.post('/a', {}, Answer)).rejects.toMatchObject({
        code,
        message: expect.stringContaining(message),
      });
      expect(sent).toHaveLength(1);
    },
  );

  test.each([
    ['an answer of another shape', () => Response.json({ ok: 'yes' })],
    ['something else than JSON', () => new Response('<html>')],
    ['an error without a code', () => new Response('no', { status: 418 })],
    ['an endless answer', () => new Response(new Uint8Array(9 * 1024 * 1024))],
  ] as const)('answered with %s fails with bad_answer', async (_, step) => {
    await expect(scripted([step]).api.get('/a', Answer)).rejects.toMatchObject({ code: 'bad_answer' });
  });
});

describe('An upload', () => {
  test('carries no token, restarts with its first byte at a retry, and reports its progress', async () => {
    const { api, sent } = scripted([busy, ok]);
    const progress: number[] = [];
    const bytes = new Uint8Array(100_000).fill(7);
    await api.put(
      '/upload?signature=x',
      createBody(bytes, (done) => progress.push(done)),
    );
    expect(sent.map(({ url }) => url)).toEqual([
      'http://cp/upload?signature=x',
      'http://cp/upload?signature=x',
    ]);
    expect(sent[1]?.headers.get('authorization')).toBeNull();
    expect(sent[1]?.headers.get('content-length')).toBe('100000');
    const body = await new Response(sent[1]?.body as ReadableStream).bytes();
    expect(Buffer.from(body).equals(Buffer.from(bytes))).toBe(true);
    expect(progress.at(-1)).toBe(100_000);
  });
});
