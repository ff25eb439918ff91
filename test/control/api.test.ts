// What every request passes: tokens, request ids, bodies, paths; and health, OpenAPI and the audit trail.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { CONTROL_BOUNDS } from '../../src/base/limits/control.ts';
import { REQUEST_BOUNDS } from '../../src/base/limits/request.ts';
import { accessOf } from '../../src/control/auth/access.ts';
import { listenControl } from '../../src/control/listen.ts';
import { type Fleet, openFleet } from './harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

describe('A request', () => {
  test('without a valid token is refused', async () => {
    for (const token of [null, '', 'x', `${fleet.admin}x`, 'edge_admin_']) {
      const refused = await fleet.call('GET', '/api/v1/functions', { token });
      expect([refused.status, refused.code]).toEqual([401, 'unauthenticated']);
    }
    const headers = { authorization: `Basic ${fleet.admin}` };
    expect((await fleet.call('GET', '/api/v1/functions', { token: null, headers })).code).toBe(
      'unauthenticated',
    );
  });

  test('without a token does not learn which paths and fields there are', async () => {
    const unknown = await fleet.call('POST', '/api/v1/nothing', { token: null, json: {} });
    const known = await fleet.call('POST', '/api/v1/functions', { token: null, body: '{' });
    expect([unknown.code, known.code]).toEqual(['unauthenticated', 'unauthenticated']);
  });

  test('keeps its id in response and error where the id is plain, else gets a new one', async () => {
    const own = await fleet.call('GET', '/nothing', { headers: { 'x-request-id': 'abc-1.2_3' } });
    expect([own.headers.get('x-request-id'), own.at('error.request_id')]).toEqual(['abc-1.2_3', 'abc-1.2_3']);
    for (const hostile of ['a b', 'x'.repeat(65), '"><script>']) {
      const other = await fleet.call('GET', '/livez', { headers: { 'x-request-id': hostile } });
      expect(other.headers.get('x-request-id')).toMatch(/^req_[0-9a-z]{26}$/);
    }
  });

  test.each([
    ['GET', '/nothing'],
    ['GET', '/api/v1/nothing'],
    ['PATCH', '/api/v1/functions'],
    ['GET', '/api/v1/nodes/join/heartbeat'],
    ['GET', '/'],
  ])('for an unknown path is not found: %s %s', async (method, path) => {
    const missing = await fleet.call(method, path);
    expect([missing.status, missing.code]).toEqual([404, 'not_found']);
    expect(Object.keys(missing.at('error') ?? {})).toEqual(['code', 'message', 'request_id', 'retryable']);
  });

  test.each(['{', '[1,', 'undefined', '{"name":"a"}}', '\uFFFF'])(
    'whose body is not JSON is refused: %s',
    async (body) => {
      const refused = await fleet.call('POST', '/api/v1/functions', {
        body,
        headers: { 'content-type': 'application/json' },
      });
      expect([refused.status, refused.code]).toEqual([400, 'malformed_json']);
    },
  );

  test('whose body is not UTF-8 is refused', async () => {
    const refused = await fleet.call('POST', '/api/v1/functions', {
      body: new Uint8Array([0x22, 0xff, 0x22]),
    });
    expect(refused.code).toBe('malformed_json');
  });

  test.each(['[]', '"text"', '1', 'null'])(
    'whose JSON is not an object is refused by its schema: %s',
    async (body) => {
      const refused = await fleet.call('POST', '/api/v1/functions', {
        body,
        headers: { 'content-type': 'application/json' },
      });
      expect([refused.status, refused.code]).toEqual([422, 'validation_failed']);
    },
  );

  test.each([33, 1_000, 400_000])(
    'whose JSON nests %p levels deep is refused before anything recursive reads it',
    async (depth) => {
      const body = `{"name":"a","x":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;
      const refused = await fleet.call('POST', '/api/v1/functions', { body });
      expect([refused.status, refused.code]).toEqual([400, 'malformed_json']);
    },
  );

  test('may have brackets and quotes in its strings', async () => {
    const json = { name: 'a', env: { A: '[{"'.repeat(50), B: '\\"['.repeat(50) } };
    expect((await fleet.call('POST', '/api/v1/functions', { json })).status).toBe(201);
  });

  test('with another content type is refused', async () => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const refused = await fleet.call('POST', '/api/v1/functions', { body: 'name=a', headers });
    expect([refused.status, refused.code]).toEqual([400, 'bad_request']);
  });

  test('with a body over the limit is refused, whether it announces its length or not', async () => {
    const headers = { 'content-type': 'application/json' };
    const announced = 'x'.repeat(CONTROL_BOUNDS.jsonBodyBytesMax + 1);
    expect((await fleet.call('POST', '/api/v1/functions', { body: announced, headers })).code).toBe(
      'request_too_large',
    );
    let sent = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 65_536;
        controller.enqueue(new Uint8Array(65_536).fill(0x20));
      },
    });
    const refused = await fleet.call('POST', '/api/v1/functions', { body: endless, headers });
    expect([refused.status, refused.code]).toEqual([413, 'request_too_large']);
    expect(sent).toBeLessThan(2 * CONTROL_BOUNDS.jsonBodyBytesMax);
  });

  test('with a target over the limit is refused', async () => {
    const refused = await fleet.call(
      'GET',
      `/api/v1/functions?name=${'x'.repeat(REQUEST_BOUNDS.targetBytesMax)}`,
    );
    expect([refused.status, refused.code]).toEqual([414, 'uri_too_long']);
  });

  test.each([
    '/api/v1/../v1/functions',
    '/api//v1/functions',
    '//api/v1/functions',
    '/api/v1/nodes/join/../../functions',
  ])('for a path that is not normalised gets past no check: %s', async (path) => {
    const answer = await fleet.call('GET', `http://control${path}`, { token: null });
    expect([401, 404]).toContain(answer.status);
  });

  test.each([
    ['', '/livez/../api/v1/functions'],
    ['a b', '/livez/../api/v1/functions'],
    ['/livez?', '/livez/../api/v1/functions'],
    ['', '/api/v1/functions'],
    ['a:99999', '/livez/../api/v1/functions'],
    ['x/livez?', '/api/v1/functions'],
  ])('whose host "%s" makes no valid URL is refused before the router reads it: %s', async (host, path) => {
    const listener = listenControl({ control: fleet.control, hostname: '127.0.0.1', port: 0 });
    try {
      const answer = await sendRaw(listener.port, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      expect(answer).toStartWith('HTTP/1.1 400 ');
      expect(answer).toContain('"code":"bad_request"');
    } finally {
      await listener.close();
    }
  });

  test('with an https URL is refused: the router would take part of the host for the path', async () => {
    const answer = await fleet.call('GET', 'https://api/v1/functions', { token: null });
    expect([answer.status, answer.code]).toEqual([400, 'bad_request']);
  });
});

/** The response to exactly these bytes, as long as its `content-length`. */
async function sendRaw(port: number, bytes: string): Promise<string> {
  const answered = Promise.withResolvers<string>();
  let text = '';
  const take = (more: Buffer): void => {
    text += more.toString('latin1');
    const [head = '', body = ''] = text.split('\r\n\r\n');
    if (body.length >= Number(/content-length: (\d+)/i.exec(head)?.[1] ?? Infinity)) answered.resolve(text);
  };
  const handlers = {
    data: (_: unknown, more: Buffer) => take(more),
    close: () => answered.resolve(text),
  };
  const socket = await Bun.connect({ hostname: '127.0.0.1', port, socket: handlers });
  socket.write(bytes);
  try {
    return await answered.promise;
  } finally {
    socket.end();
  }
}

describe('The access table', () => {
  test.each([
    ['GET', '/livez', 'open'],
    ['GET', '/openapi.json', 'open'],
    ['PUT', '/api/v1/uploads/fn_a/1.0.0', 'open'],
    ['POST', '/api/v1/nodes/join', 'open'],
    ['POST', '/api/v1/nodes/n1/heartbeat', 'node'],
    ['GET', '/api/v1/artifacts/fn_a/1.0.0', 'node_or_admin'],
    ['POST', '/api/v1/nodes/join-tokens', 'admin'],
    ['POST', '/api/v1/nodes/join/', 'admin'],
    ['GET', '/api/v1/uploads/fn_a/1.0.0', 'admin'],
    ['PUT', '/api/v1/uploads/fn_a/1.0.0/more', 'admin'],
    ['DELETE', '/api/v1/nodes/n1', 'admin'],
    ['GET', '/api/v1/audit', 'admin'],
    ['GET', '/api/', 'admin'],
  ])('allows %s %s to %s', (method, path, access) => {
    expect(accessOf(method, path)).toBe(access as ReturnType<typeof accessOf>);
  });
});

describe('The control plane', () => {
  test('reports that it is alive and ready, and its version', async () => {
    for (const path of ['/livez', '/readyz']) {
      const healthy = await fleet.call('GET', path, { token: null });
      expect([healthy.status, healthy.body]).toEqual([200, { status: 'ok' }]);
    }
    expect((await fleet.call('GET', '/version', { token: null })).body).toEqual({ version: '0.0.0-test' });
  });

  test('serves an OpenAPI document made from the schemas that it checks', async () => {
    const document = await fleet.call('GET', '/openapi.json', { token: null });
    expect(document.at('openapi')).toBe('3.1.0');
    const paths = document.at('paths');
    expect(Object.keys(paths ?? {})).toEqual(
      expect.arrayContaining([
        '/api/v1/functions',
        '/api/v1/functions/{id}/deploy',
        '/api/v1/nodes/{id}/heartbeat',
      ]),
    );
    expect(document.text).toContain('"pop_selector"');
    expect(document.text).toContain('application/json');
    expect(document.text).not.toContain('http://');
  });

  test('audits who did what, newest first, and never a secret', async () => {
    const id = await fleet.publish('hello');
    const node = await fleet.join('n1');
    await fleet.call('POST', `/api/v1/functions/${id}/deploy`, { json: {} });
    const trail = await fleet.call('GET', '/api/v1/audit?limit=200');
    const actions = [0, 1, 2, 3, 4].map((index) => [
      trail.at(`items.${index}.action`),
      trail.at(`items.${index}.actor`),
    ]);
    expect(actions).toEqual([
      ['deployment.create', 'admin:first'],
      ['node.join', 'node:n1'],
      ['join_token.create', 'admin:first'],
      ['version.publish', 'upload-url'],
      ['function.create', 'admin:first'],
    ]);
    for (const secret of [fleet.admin, node.node_token, 'edge_join_', 'signature'])
      expect(trail.text).not.toContain(secret);
    const page = await fleet.call('GET', '/api/v1/audit?limit=1');
    const next = await fleet.call('GET', `/api/v1/audit?limit=1&cursor=${page.string('next_cursor')}`);
    expect(next.at('items.0.id')).toBe(Number(page.at('items.0.id')) - 1);
    expect((await fleet.call('GET', '/api/v1/audit?cursor=eA')).code).toBe('validation_failed');
  });

  test('lists nodes page by page', async () => {
    for (const name of ['b', 'a', 'c']) await fleet.join(name);
    const page = await fleet.call('GET', '/api/v1/nodes?limit=2');
    expect([page.at('items.0.id'), page.at('items.1.id')]).toEqual(['a', 'b']);
    const next = await fleet.call('GET', `/api/v1/nodes?limit=2&cursor=${page.string('next_cursor')}`);
    expect([next.at('items.0.id'), next.at('next_cursor')]).toEqual(['c', null]);
  });

  test('logs no token and no key', async () => {
    const node = await fleet.join('n1');
    await fleet.beat(node);
    await fleet.publish('hello');
    const logged = fleet.lines.join('');
    for (const secret of [fleet.admin, node.node_token, 'signature=']) expect(logged).not.toContain(secret);
  });
});
