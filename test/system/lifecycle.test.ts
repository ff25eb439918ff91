// A function from upload to removal, through the built executable.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import {
  type Directory,
  type Up,
  WAIT_MS,
  codeOf,
  deployed,
  fixture,
  startUp,
  temporaryDirectory,
  until,
} from './harness.ts';

let directory: Directory;
let up: Up;

beforeAll(async () => {
  directory = temporaryDirectory();
  up = await startUp(directory.path);
}, 120_000);

afterAll(async () => {
  await up.close();
  directory[Symbol.dispose]();
}, WAIT_MS);

describe('A deployed function', () => {
  test('answers on its route, with headers that name function, version and request', async () => {
    const result = await deployed(up, fixture('hello/hello-c.wasm'), [
      '--name',
      'hello',
      '--route',
      '/hello',
    ]);
    expect(result['version']).toBe('1.0.0');
    expect(result['sha256']).toMatch(/^[0-9a-f]{64}$/);
    const response = await fetch(`${up.publicUrl}/hello`);
    expect(await response.text()).toBe('Hello from edge!\n');
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toStartWith('text/plain');
    expect(response.headers.get('x-edge-function')).toBe(String(result['function_id']));
    expect(response.headers.get('x-edge-version')).toBe('1.0.0');
    expect(response.headers.get('x-request-id')).toMatch(/^[A-Za-z0-9._-]{1,64}$/);
  });

  test('keeps the request id that a client sends', async () => {
    const response = await fetch(`${up.publicUrl}/hello`, {
      headers: { 'x-request-id': 'from-the-client.1' },
    });
    expect(response.headers.get('x-request-id')).toBe('from-the-client.1');
  });

  test('is replaced by its second version without a failed request', async () => {
    const statuses = new Set<number>();
    let running = true;
    const load = (async () => {
      while (running) statuses.add((await fetch(`${up.publicUrl}/hello`)).status);
    })();
    const result = await deployed(up, fixture('hello/hello-v2.wasm'), [
      '--name',
      'hello',
      '--route',
      '/hello',
    ]);
    await until('the second version answers', async () => {
      const response = await fetch(`${up.publicUrl}/hello`);
      return (await response.text()) === 'Hello again from edge!\n';
    });
    running = false;
    await load;
    expect(result['version']).toBe('1.0.1');
    expect([...statuses]).toEqual([200]);
  });

  test('rolls back to its first version with one command', async () => {
    const { code, err } = await up.cli(['rollback', 'hello']);
    expect(`${code} ${err}`).toStartWith('0');
    await until('the first version answers again', async () => {
      const response = await fetch(`${up.publicUrl}/hello`);
      return (
        response.headers.get('x-edge-version') === '1.0.0' && (await response.text()) === 'Hello from edge!\n'
      );
    });
  });

  test('accepts only the methods of its route', async () => {
    const args = ['--name', 'only-get', '--route', '/only-get', '--method', 'GET'];
    await deployed(up, fixture('hello/hello-c.wasm'), args);
    const response = await fetch(`${up.publicUrl}/only-get`, { method: 'DELETE' });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toContain('GET');
    expect(await codeOf(response)).toBe('method_not_allowed');
  });

  test('gets 404 after it was undeployed', async () => {
    const { code, err } = await up.cli(['undeploy', 'hello']);
    expect(`${code} ${err}`).toStartWith('0');
    const gone = await until('its route is gone', async () => {
      const response = await fetch(`${up.publicUrl}/hello`);
      return response.status === 404 ? response : null;
    });
    expect(await codeOf(gone)).toBe('route_not_found');
  });
});

describe('The echo guest', () => {
  test('sees method, target, headers and body as they were sent', async () => {
    await deployed(up, fixture('echo/echo.wasm'), ['--name', 'echo', '--route', '/echo/*']);
    const response = await fetch(`${up.publicUrl}/echo/a%20b?x=1&y=%2F`, {
      method: 'POST',
      headers: { 'x-colour': 'blue', 'content-type': 'text/plain' },
      body: 'some bytes',
    });
    const text = await response.text();
    expect(text).toStartWith('POST /echo/a%20b?x=1&y=%2F\n');
    expect(text).toContain('x-colour: blue');
    expect(text).toEndWith('some bytes');
  });

  test('returns a body of the maximum size, and a larger one gets 413', async () => {
    const args = [
      '--name',
      'large',
      '--route',
      '/large',
      '--memory-pages',
      '1024',
      '--max-execution-ms',
      '5000',
    ];
    await deployed(up, fixture('echo/echo.wasm'), args);
    const body = new Uint8Array(10 * 1024 * 1024 - 4_096).fill(97);
    const response = await fetch(`${up.publicUrl}/large`, { method: 'POST', body });
    const answer = new Uint8Array(await response.arrayBuffer());
    expect(response.status).toBe(200);
    expect(Buffer.from(answer.subarray(answer.length - body.length)).equals(body)).toBe(true);
    const refused = await fetch(`${up.publicUrl}/large`, {
      method: 'POST',
      body: new Uint8Array(10 * 1024 * 1024 + 1),
    });
    expect(refused.status).toBe(413);
    expect(await codeOf(refused)).toBe('request_too_large');
  });
});

describe('A request with large headers', () => {
  const send = (bytes: number): Promise<Response> =>
    fetch(`${up.publicUrl}/echo/x`, { headers: { 'x-large': 'a'.repeat(bytes) } });

  test('is answered up to the limit of 32 KiB, and gets 431 with headers_too_large above it', async () => {
    expect((await send(30_000)).status).toBe(200);
    const refused = await send(33_000);
    expect(refused.status).toBe(431);
    expect(await codeOf(refused)).toBe('headers_too_large');
  });
});

describe.each(['hello-assemblyscript', 'hello-c', 'hello-rust'])('The hello guest %s', (name) => {
  test('answers', async () => {
    await deployed(up, fixture(`hello/${name}.wasm`), ['--name', name, '--route', `/${name}`]);
    expect(await (await fetch(`${up.publicUrl}/${name}`)).text()).toBe('Hello from edge!\n');
  });
});

describe('A guest that keeps state', () => {
  test('starts afresh for every request with clean isolation', async () => {
    await deployed(up, fixture('counter/counter.wasm'), ['--name', 'clean', '--route', '/clean']);
    const first = await (await fetch(`${up.publicUrl}/clean`)).text();
    for (let i = 0; i < 20; i += 1) expect(await (await fetch(`${up.publicUrl}/clean`)).text()).toBe(first);
  });

  test('keeps its state between requests with reuse isolation', async () => {
    const args = ['--name', 'reuse', '--route', '/reuse', '--isolation', 'reuse'];
    await deployed(up, fixture('counter/counter.wasm'), args);
    const seen: string[] = [];
    for (let i = 0; i < 3; i += 1) seen.push(await (await fetch(`${up.publicUrl}/reuse`)).text());
    expect(new Set(seen).size).toBe(3);
  });
});

describe('The environment of a version', () => {
  test('is read by the guest', async () => {
    const args = ['--name', 'settings', '--route', '/settings/*', '--env', 'COLOUR=blue'];
    await deployed(up, fixture('env/env.wasm'), args);
    expect(await (await fetch(`${up.publicUrl}/settings/COLOUR`)).text()).toContain('blue');
  });
});

describe('The API', () => {
  test('serves its OpenAPI document and lists the node as online', async () => {
    const document = (await (await fetch(`${up.controlUrl}/openapi.json`)).json()) as {
      paths: Record<string, unknown>;
    };
    expect(Object.keys(document.paths)).toContain('/api/v1/functions/{id}/deploy');
    const { status, json } = await up.api('GET', '/nodes');
    expect(status).toBe(200);
    expect(JSON.stringify(json)).toContain('"online"');
  });

  test('refuses bad fields with a list of them, and a request without a token', async () => {
    const refused = await up.api('POST', '/functions', {
      name: 'Bad Name',
      memory_pages: -1,
      surprise: true,
    });
    expect(refused.status).toBe(422);
    const fields = JSON.stringify(refused.json);
    for (const field of ['name', 'memory_pages', 'surprise']) expect(fields).toContain(field);
    expect((await fetch(`${up.controlUrl}/api/v1/functions`)).status).toBe(401);
  });
});

describe('The metrics port', () => {
  test('shows metrics of the node and of its functions', async () => {
    const text = await (await fetch(`${up.metricsUrl}/metrics`)).text();
    for (const name of [
      'edge_node_up 1',
      'wasm_invoke_count_total{',
      'wasm_invoke_latency_seconds_bucket{',
    ]) {
      expect(text).toContain(name);
    }
    for (const name of [
      'wasm_cache_hits_total',
      'wasm_cache_misses_total',
      'node_memory_bytes',
      'node_cpu_percent',
    ]) {
      expect(text).toContain(name);
    }
  });
});
