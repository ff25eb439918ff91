// Requests that a function answers: what reaches the guest, and what the client gets.
import { describe, expect, test } from 'bun:test';
import type { InvocationRequest } from '../../../src/model/invocation.ts';
import { answer } from '../fake_engine.ts';
import { createTestClock, exchangeRaw, functionId, openTestServer } from '../harness.ts';

describe('A request that a function answers', () => {
  test('reaches the guest with its method, target, headers and body', async () => {
    const got: InvocationRequest[] = [];
    await using server = openTestServer({
      handler: (request) => {
        got.push(request);
        return answer('done');
      },
    });
    const headers = { 'x-a': '1', connection: 'close, x-hop', 'x-hop': 'secret' };
    await fetch(`${server.url}/a/b?c=%20d`, { method: 'POST', body: 'hello', headers });
    const [request] = got;
    expect(request).toMatchObject({ method: 'POST', target: '/a/b?c=%20d' });
    expect(new TextDecoder().decode(request?.body ?? undefined)).toBe('hello');
    expect(request?.headers).toContain('x-a: 1\r\n');
    expect(request?.headers).toContain('content-length: 5\r\n');
    expect(request?.headers).toContain('x-hop: secret\r\n');
    expect(request?.headers).not.toContain('connection');
    expect(request?.headers).not.toContain('connection');
  });

  test('gets the status, headers and bytes of the guest, and the names of function and version', async () => {
    await using server = openTestServer({
      handler: () => ({
        kind: 'answer',
        status: 201,
        headers: [
          ['set-cookie', 'a=1'],
          ['set-cookie', 'b=2'],
          ['content-length', '99'],
          ['date', 'never'],
          ['x-request-id', 'forged'],
          ['link', '<a>'],
          ['link', '<b>'],
        ],
        body: new Uint8Array([0, 255]),
        logs: null,
      }),
    });
    const response = await fetch(server.url);
    expect(response.status).toBe(201);
    expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    expect(response.headers.get('link')).toBe('<a>, <b>');
    expect(response.headers.get('date')).not.toBe('never');
    expect(response.headers.get('x-request-id')).not.toBe('forged');
    expect(response.headers.get('x-edge-function')).toBe(functionId(1));
    expect(response.headers.get('x-edge-version')).toBe('1.2.3');
    expect(response.headers.get('server-timing')).toBeNull();
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(new Uint8Array([0, 255]));
  });

  test.each([
    ['x-edge-version', 'is for the host alone'],
    ['x-accel-redirect', 'gives orders to a proxy'],
  ])('gets 500 where the engine lets %s through, and the log says so', async (name, reason) => {
    await using server = openTestServer({ handler: () => answer('', [[name, '9.9.9']]) });
    const response = await fetch(server.url);
    expect(response.status).toBe(500);
    expect(response.headers.get(name)).not.toBe('9.9.9');
    const [line] = server.lines.filter(({ error }) => error === 'invalid_guest_response');
    expect(line?.['detail']).toBe(`header "${name}" ${reason}: remove it`);
  });

  test("has an id: the client's where it is well formed, else a unique one", async () => {
    await using server = openTestServer();
    const idOf = async (given?: string): Promise<string | null> => {
      const headers = given === undefined ? {} : { 'x-request-id': given };
      return (await fetch(server.url, { headers })).headers.get('x-request-id');
    };
    expect(await idOf('mine-1')).toBe('mine-1');
    expect(await idOf('not well formed')).not.toBe('not well formed');
    expect(await idOf('x'.repeat(65))).toMatch(/^[A-Za-z0-9._-]{1,64}$/);
    expect(await idOf()).not.toBe(await idOf());
  });

  test('gets the times in server-timing when it asks for them', async () => {
    await using server = openTestServer();
    const response = await fetch(server.url, { headers: { 'x-edge-timing': '1' } });
    expect(response.headers.get('server-timing')).toMatch(/^edge;dur=[\d.]+, function;dur=[\d.]+$/);
  });

  test('with HEAD gets no body and the length that GET would get', async () => {
    await using server = openTestServer({ handler: () => answer('four') });
    const text = await exchangeRaw(server.port, 'HEAD / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(text.toLowerCase()).toContain('content-length: 4\r\n');
    expect(text.endsWith('\r\n\r\n')).toBe(true);
  });

  test('gets no body with status 204, whatever the guest gave', async () => {
    await using server = openTestServer({
      handler: () => ({ kind: 'answer', status: 204, headers: [], body: new Uint8Array(3), logs: null }),
    });
    const response = await fetch(server.url);
    expect(response.status).toBe(204);
    expect(await response.text()).toBe('');
  });

  test('gets a deadline of max_execution_ms from its arrival', async () => {
    const deadlines: number[] = [];
    const clock = createTestClock(5_000);
    await using server = openTestServer({
      clock,
      maxExecutionMs: 250,
      handler: (_request, deadlineMs) => {
        deadlines.push(deadlineMs);
        return answer('');
      },
    });
    await fetch(server.url);
    expect(deadlines).toEqual([5_250]);
  });

  test('is routed by its host without port, and by its path', async () => {
    await using server = openTestServer({ rules: [{ host: 'api.example.com', path: '/a' }] });
    const get = (target: string, host: string): Promise<string> =>
      exchangeRaw(server.port, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    expect(await get('/a', 'API.example.com:8443')).toContain(' 200 ');
    expect(await get('/a?x=/b', 'api.example.com.')).toContain(' 200 ');
    expect(await get('/a', 'example.com')).toContain(' 404 ');
    expect(await get('/b', 'api.example.com')).toContain(' 404 ');
  });

  test.each([
    ['HTTP/1.0\r\n', 'no host'],
    ['HTTP/1.1\r\nHost:\r\n', 'an empty host'],
    ['HTTP/1.1\r\nHost: x\r\n', 'a host'],
  ])('reaches the guest with a plain path: %j', async (rest) => {
    const paths: string[] = [];
    await using server = openTestServer({
      rules: [{ path: '/a/*' }],
      handler: ({ target }) => {
        paths.push(target);
        return answer('');
      },
    });
    const get = (target: string): Promise<string> => exchangeRaw(server.port, `GET ${target} ${rest}\r\n`);
    expect(await get('/a/b/../c?q=../x')).toContain(' 200 ');
    expect(await get('//a/b')).toContain(' 404 ');
    expect(await get('/a/../b')).toContain(' 404 ');
    expect(await get('/a/..\\..\\b')).toContain(' 404 ');
    expect(paths).toEqual(['/a/c?q=../x']);
  });

  test('never gets the headers or the id of another answer', async () => {
    const kinds: [string, string][][] = [
      [['a', '1']],
      [['a', '1']],
      [['a', '2']],
      [['b', '1']],
      [],
      [['a', '1']],
    ];
    let next = 0;
    await using server = openTestServer({ handler: () => answer('', kinds[next++ % kinds.length]) });
    for (let round = 0; round < 3; round += 1) {
      for (const [index, kind] of kinds.entries()) {
        const id = `r${round}-${index}`;
        const { headers } = await fetch(server.url, { headers: { 'x-request-id': id } });
        expect(headers.get('x-request-id')).toBe(id);
        expect(headers.get('server-timing')).toBeNull();
        for (const name of ['a', 'b']) {
          expect(headers.get(name)).toBe(kind.find(([given]) => given === name)?.[1] ?? null);
        }
        if (index === 3)
          await fetch(server.url, { headers: { 'x-edge-timing': '1' } }).then(() => (next -= 1));
      }
    }
  });

  test('keeps its id among many that are answered at once', async () => {
    await using server = openTestServer();
    const ids = Array.from({ length: 50 }, (_, i) => `id-${i}`);
    const got = await Promise.all(
      ids.map(async (id) =>
        (await fetch(server.url, { headers: { 'x-request-id': id } })).headers.get('x-request-id'),
      ),
    );
    expect(got).toEqual(ids);
  });
});
