// Requests that end in an error: every code of the edge and of a guest, as a client sees it.
import { describe, expect, test } from 'bun:test';
import type { GuestErrorCode } from '../../../src/base/errors.ts';
import { EDGE_ERRORS, GUEST_ERRORS } from '../../../src/base/errors.ts';
import { type Bodies, createBodies } from '../../../src/edge/serve/body.ts';
import type { AssignedVersion, Readiness, ReadyVersion } from '../../../src/edge/serve/routing.ts';
import type { InvocationOutcome } from '../../../src/model/invocation.ts';
import { answer } from '../fake_engine.ts';
import { createTestClock, exchangeRaw, functionId, openTestServer, openRaw, until } from '../harness.ts';

/** The codes that the tests of this file have seen in an answer. */
const seen = new Set<string>();

async function codeOf(response: Response): Promise<string> {
  const body = (await response.json()) as { error: { code: string; request_id: string; message: string } };
  expect(body.error.request_id).toBe(response.headers.get('x-request-id') ?? '');
  expect(body.error.message).not.toMatch(/\/(work|home|tmp|var)\//);
  seen.add(body.error.code);
  return body.error.code;
}

const seenRaw = (text: string): string => {
  const code = /"code":"([a-z_]+)"/.exec(text)?.[1] ?? 'none';
  seen.add(code);
  return code;
};

describe('A request that reaches no function', () => {
  test('is 404 where no route matches', async () => {
    await using server = openTestServer({ rules: [{ path: '/a' }] });
    const response = await fetch(`${server.url}/b`);
    expect(response.status).toBe(404);
    expect(response.headers.get('x-edge-function')).toBeNull();
    expect(await codeOf(response)).toBe('route_not_found');
  });

  test('is 405 with Allow where the path takes other methods', async () => {
    await using server = openTestServer({ rules: [{ path: '/a', methods: ['POST', 'PUT'] }] });
    const response = await fetch(`${server.url}/a`);
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST, PUT');
    expect(await codeOf(response)).toBe('method_not_allowed');
  });

  test('is 414 with a target above the limit', async () => {
    await using server = openTestServer({ limits: { targetBytesMax: 100 } });
    expect((await fetch(`${server.url}/${'a'.repeat(99)}`)).status).toBe(200);
    const response = await fetch(`${server.url}/${'a'.repeat(100)}`);
    expect(response.status).toBe(414);
    expect(await codeOf(response)).toBe('uri_too_long');
  });

  test('is 431 with too many bytes or too many fields of headers', async () => {
    await using server = openTestServer({ limits: { headersBytesMax: 2_000, headersCountMax: 20 } });
    const large = await fetch(server.url, { headers: { a: 'x'.repeat(2_000) } });
    expect(large.status).toBe(431);
    expect(await codeOf(large)).toBe('headers_too_large');
    const many = Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`h${i}`, '1']));
    expect((await fetch(server.url, { headers: many })).status).toBe(431);
  });

  const broken = [
    'GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
    'GET /a HTTP/1.1\r\nHost: a/b?c\r\n\r\n',
    'GET /a HTTP/1.1\r\nHost: a:99999\r\n\r\n',
    'GET /a HTTP/1.1\r\nHost: [::1\r\n\r\n',
    'GET /a HTTP/1.1\r\nHost: a%2fb\r\n\r\n',
    'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n',
    'POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n',
    'GET /a HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n',
  ];
  for (const bytes of broken) {
    test(`is 400: ${JSON.stringify(bytes.slice(0, 50))}`, async () => {
      await using server = openTestServer();
      const text = await exchangeRaw(server.port, bytes);
      expect(text).toStartWith('HTTP/1.1 400 ');
      seenRaw(text);
    });
  }

  test('is counted by its code', async () => {
    await using server = openTestServer({ rules: [{ path: '/a' }] });
    await fetch(`${server.url}/b`);
    expect(await server.metrics.render()).toContain('edge_requests_refused_total{code="route_not_found"} 1');
  });
});

describe('A body above the limit', () => {
  test('is 413 by its announced length, before a byte is read', async () => {
    await using server = openTestServer({ limits: { requestBytesMax: 1_000 } });
    expect((await fetch(server.url, { method: 'POST', body: 'x'.repeat(1_000) })).status).toBe(200);
    const response = await fetch(server.url, { method: 'POST', body: 'x'.repeat(1_001) });
    expect(response.status).toBe(413);
    expect(await codeOf(response)).toBe('request_too_large');
  });

  test('is 413 while reading when no length was announced', async () => {
    await using server = openTestServer({ limits: { requestBytesMax: 1_000 } });
    const raw = openRaw(server.port);
    const chunk = `200\r\n${'x'.repeat(512)}\r\n`;
    raw.write(`POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}${chunk}`);
    await until('there is an answer', () => raw.text().includes('}}'));
    raw.end();
    expect(raw.text()).toStartWith('HTTP/1.1 413 ');
    expect(seenRaw(raw.text())).toBe('request_too_large');
  });

  test('is 503 while the bodies of all requests are too large together', async () => {
    const gate = Promise.withResolvers<InvocationOutcome>();
    await using server = openTestServer({
      limits: { requestBodiesBytesMax: 1_500 },
      handler: ({ target }) => (target === '/wait' ? gate.promise : answer('')),
    });
    const post = (path: string): Promise<Response> =>
      fetch(`${server.url}${path}`, { method: 'POST', body: 'x'.repeat(1_000) });
    const first = post('/wait');
    let full = await post('/');
    await until('the first body is read', async () => {
      if (full.status === 503) return true;
      full = await post('/');
      return false;
    });
    expect(full.headers.get('retry-after')).toBe('1');
    expect(await codeOf(full)).toBe('bodies_full');
    gate.resolve(answer(''));
    expect((await first).status).toBe(200);
    expect((await post('/')).status).toBe(200);
  });
});

describe('The bodies of one project', () => {
  const bodiesOf = (): Bodies =>
    createBodies({
      clock: createTestClock(),
      limits: { requestBytesMax: 100, requestBodyMs: 1_000, requestBodiesBytesMax: 800 },
    });
  const request = (): Request => new Request('http://a/', { method: 'POST', body: 'x'.repeat(100) });

  test('take a quarter of the room at most, and leave the rest to others', async () => {
    const bodies = bodiesOf();
    const [slow, other] = [{}, {}];
    const kept = [await bodies.read(request(), 100, slow), await bodies.read(request(), 100, slow)];
    expect(kept.map(({ ok }) => ok)).toEqual([true, true]);
    expect(await bodies.read(request(), 100, slow)).toEqual({ ok: false, code: 'bodies_full' });
    expect(await bodies.read(request(), 100, other)).toMatchObject({ ok: true });
    const [first] = kept;
    if (first?.ok === true) bodies.release(first.body, slow);
    expect(await bodies.read(request(), 100, slow)).toMatchObject({ ok: true });
  });
});

describe('A body whose client goes away', () => {
  for (const [name, start] of [
    ['in the middle of its length', 'Content-Length: 10\r\n\r\nabc'],
    ['between two chunks', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'],
  ]) {
    test(`${name} never reaches the guest, and its bytes are released`, async () => {
      let invocations = 0;
      await using server = openTestServer({
        limits: { requestBodiesBytesMax: 3 },
        handler: () => {
          invocations += 1;
          return answer('');
        },
      });
      const post = (): Promise<Response> => fetch(server.url, { method: 'POST', body: 'xyz' });
      const raw = openRaw(server.port);
      raw.write(`POST / HTTP/1.1\r\nHost: x\r\n${start}`);
      await until('its bytes are counted', async () => (await post()).status === 503);
      const before = invocations;
      raw.end();
      await until('there is room again', async () => (await post()).status === 200);
      expect(invocations).toBe(before + 1);
    });
  }
});

describe('A body that trickles in', () => {
  test('is 408 at an absolute deadline, however steadily its bytes come', async () => {
    const clock = createTestClock();
    await using server = openTestServer({ clock, limits: { requestBodyMs: 1_000 } });
    const raw = openRaw(server.port);
    raw.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na');
    await until('the body is being read', () => clock.sleepers() === 1);
    await clock.advance(600);
    raw.write('b');
    await clock.advance(600);
    await until('there is an answer', () => raw.text().includes('}}'));
    raw.end();
    expect(raw.text()).toStartWith('HTTP/1.1 408 ');
    expect(seenRaw(raw.text())).toBe('request_timeout');
  });

  test('leaves the guest its whole time limit once it is complete', async () => {
    const clock = createTestClock(0);
    const deadlines: number[] = [];
    await using server = openTestServer({
      clock,
      handler: (_request, deadlineMs) => {
        deadlines.push(deadlineMs);
        return answer('');
      },
    });
    const raw = openRaw(server.port);
    raw.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na');
    await until('the body is being read', () => clock.sleepers() === 1);
    await clock.advance(2_000);
    raw.write('b');
    await until('there is an answer', () => raw.text().includes(' 200 '));
    raw.end();
    expect(deadlines).toEqual([2_500]);
  });

  test('is routed again when it is complete', async () => {
    await using server = openTestServer();
    const raw = openRaw(server.port);
    const eventCount = server.engine.events.length;
    raw.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na');
    await until('the request has arrived', async () => (await fetch(server.url)).status === 200);
    server.routing.replace([]);
    raw.write('b');
    await until('there is an answer', () => raw.text().includes('}}'));
    raw.end();
    expect(seenRaw(raw.text())).toBe('route_not_found');
    expect(server.engine.events.length).toBe(eventCount);
  });
});

describe('A project over its quota', () => {
  test('is refused with 429 and the time to wait', async () => {
    const clock = createTestClock();
    await using server = openTestServer({ clock, quota: { perMinuteMax: 1 } });
    expect((await fetch(server.url)).status).toBe(200);
    const response = await fetch(server.url);
    expect(response.status).toBe(429);
    expect(response.headers.get('retry-after')).toBe('61');
    expect(response.headers.get('ratelimit')).toBe('"minute";r=0;t=61');
    expect(response.headers.get('ratelimit-policy')).toBe('"minute";q=1;w=60');
    expect(await codeOf(response)).toBe('quota_invocations');
    await clock.advance(61_000);
    expect((await fetch(server.url)).status).toBe(200);
  });

  test('is refused while its executions are at the limit', async () => {
    const gate = Promise.withResolvers<InvocationOutcome>();
    let running = 0;
    await using server = openTestServer({
      quota: { concurrentMax: 1 },
      handler: () => {
        running += 1;
        return gate.promise;
      },
    });
    const first = fetch(server.url);
    await until('one runs', () => running === 1);
    const response = await fetch(server.url);
    expect(response.status).toBe(429);
    expect(await codeOf(response)).toBe('quota_concurrency');
    gate.resolve(answer(''));
    await first;
    expect((await fetch(server.url)).status).toBe(200);
    expect(await server.metrics.render()).toContain('edge_quota_refused_total{code="quota_concurrency"} 1');
  });
});

describe('A guest that fails', () => {
  for (const code of Object.keys(GUEST_ERRORS) as GuestErrorCode[]) {
    test(`is ${GUEST_ERRORS[code].status} with ${code}, and shows the client no detail`, async () => {
      await using server = openTestServer({
        handler: () => ({ kind: 'fault', code, detail: 'at /work/secret/path', logs: null }),
      });
      const response = await fetch(server.url);
      expect(response.status).toBe(GUEST_ERRORS[code].status);
      expect(response.headers.get('x-edge-version')).toBe('1.2.3');
      expect(await response.clone().text()).not.toContain('secret');
      expect(await codeOf(response)).toBe(code);
      expect(await server.metrics.render()).toContain(
        `wasm_invoke_errors_total{function_id="${functionId(1)}",code="${code}"} 1`,
      );
      expect(server.lines.at(-1)).toMatchObject({
        error: code,
        detail: 'at /work/secret/path',
        version: '1.2.3',
      });
    });
  }

  test('by a WASI call that is denied is counted apart, and gone with its function', async () => {
    await using server = openTestServer();
    await fetch(server.url);
    expect(await server.metrics.render()).not.toContain('wasi_denied_total{');
    server.engine.handler = () => ({ kind: 'fault', code: 'wasi_denied', detail: null, logs: null });
    await fetch(server.url);
    await fetch(server.url);
    const line = `wasi_denied_total{function_id="${functionId(1)}"} 2`;
    expect(await server.metrics.render()).toContain(line);
    server.figures.forgetFunction(functionId(1));
    expect(await server.metrics.render()).not.toContain('wasi_denied_total{');
  });

  test('cannot inject a header into the response', async () => {
    const injections: [string, string][] = [
      ['x-a', 'b\r\nset-cookie: stolen=1'],
      ['x-a\r\nset-cookie', 'stolen=1'],
      ['transfer-encoding', 'chunked'],
    ];
    for (const pair of injections) {
      await using server = openTestServer({ handler: () => answer('x', [pair]) });
      const text = await exchangeRaw(server.port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      expect(text).toStartWith('HTTP/1.1 500 ');
      expect(text).not.toContain('stolen');
      expect(seenRaw(text)).toBe('invalid_guest_response');
    }
  });
});

describe('A request that the engine refuses', () => {
  for (const [code, status] of [
    ['headers_too_large', 431],
    ['request_too_large', 413],
  ] as const) {
    test(`is ${status} with ${code}`, async () => {
      await using server = openTestServer({ handler: () => ({ kind: 'refused', code }) });
      const response = await fetch(server.url);
      expect(response.status).toBe(status);
      expect(await codeOf(response)).toBe(code);
    });
  }
});

describe('A pool that takes no request', () => {
  test('is 503 with the time to wait', async () => {
    await using server = openTestServer({ handler: () => ({ kind: 'busy', retryAfterMs: 2_100 }) });
    const response = await fetch(server.url);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('3');
    expect(await codeOf(response)).toBe('queue_full');
  });

  for (const code of ['engine_restarting', 'shutting_down'] as const) {
    test(`is 503 with ${code}`, async () => {
      await using server = openTestServer({ handler: () => ({ kind: 'unavailable', code }) });
      const response = await fetch(server.url);
      expect(response.status).toBe(503);
      expect(response.headers.get('retry-after')).toBe('1');
      expect(await codeOf(response)).toBe(code);
    });
  }
});

describe('A function whose version is not ready', () => {
  const pending = (ready: ReadyVersion, whenReady: () => Promise<Readiness>): AssignedVersion => ({
    ...ready,
    pool: null,
    whenReady,
  });

  test('answers the request that waited for it', async () => {
    const gate = Promise.withResolvers<Readiness>();
    await using server = openTestServer({
      assign: (ready) => {
        void Promise.resolve().then(() => gate.resolve({ ready: true, version: ready }));
        return pending(ready, () => gate.promise);
      },
    });
    expect(await (await fetch(server.url)).text()).toBe('1.2.3');
  });

  test('is 503 not_ready when it is not ready within max_execution_ms', async () => {
    const clock = createTestClock();
    await using server = openTestServer({
      clock,
      assign: (ready) => pending(ready, () => new Promise(() => {})),
    });
    const response = fetch(server.url);
    await until('the request waits', () => clock.sleepers() === 1);
    await clock.advance(500);
    const { status, headers } = await response;
    expect([status, headers.get('retry-after')]).toEqual([503, '1']);
    expect(await codeOf(await response)).toBe('not_ready');
  });

  test('is 503 artifact_unavailable when its artifact cannot be fetched', async () => {
    const failed: Readiness = { ready: false, code: 'artifact_unavailable', retryAfterMs: 4_000 };
    await using server = openTestServer({ assign: (ready) => pending(ready, async () => failed) });
    const response = await fetch(server.url);
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '4']);
    expect(await codeOf(response)).toBe('artifact_unavailable');
  });
});

describe('A server that refuses new requests', () => {
  test('answers 503 and closes the connection', async () => {
    await using server = openTestServer();
    server.refuseNew();
    const response = await fetch(server.url);
    expect(response.status).toBe(503);
    expect(response.headers.get('connection')).toBe('close');
    expect(await codeOf(response)).toBe('shutting_down');
  });
});

test('Every code of the edge is seen in an answer by one of these tests', () => {
  expect(Object.keys(EDGE_ERRORS).filter((code) => !seen.has(code))).toEqual([]);
});
