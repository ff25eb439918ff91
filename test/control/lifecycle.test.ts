// A control plane's first start, its next ones, its socket, and its end.
import { afterEach, describe, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/id.ts';
import { CONTROL_BOUNDS } from '../../src/base/limits/control.ts';
import { REQUEST_DEFAULTS } from '../../src/base/limits/request.ts';
import { createLog } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { createControl } from '../../src/control/control.ts';
import { listenControl } from '../../src/control/listen.ts';
import { checkHere } from '../../src/program/roles/module_check.ts';
import { answerOf, type Fleet, heartbeatOf, hello, openFleet, sqliteMigrations, until } from './harness.ts';

let fleet: Fleet | null = null;
afterEach(async () => {
  await fleet?.close();
  fleet = null;
});

describe('The first start', () => {
  test('makes an admin token that only its owner can read', async () => {
    fleet = await openFleet();
    const path = join(fleet.dir, 'admin-token');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(fleet.admin).toMatch(/^edge_admin_[\w-]{43}$/);
    expect(fleet.control.newAdminToken).toBe(fleet.admin);
    expect((await fleet.call('GET', '/api/v1/functions')).status).toBe(200);
    expect(readFileSync(join(fleet.dir, 'control.db'), 'latin1')).not.toContain(fleet.admin);
  });

  test('makes the keys and the database readable by their owner alone', async () => {
    fleet = await openFleet();
    for (const name of ['signing-key.pem', 'upload-key', 'control.db', 'control.db-wal']) {
      expect(statSync(join(fleet.dir, name)).mode & 0o777).toBe(0o600);
    }
    expect(readdirSync(fleet.dir).filter((name) => name.includes('tmp'))).toEqual([]);
  });

  test('after one that ended before it stored the token makes another token', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'edge-control-'));
    writeFileSync(join(dir, 'admin-token'), 'edge_admin_cut\n');
    fleet = await openFleet({ dataDir: dir });
    expect(fleet.admin).not.toBe('edge_admin_cut');
    expect((await fleet.call('GET', '/api/v1/functions')).status).toBe(200);
  });
});

describe('The next start', () => {
  test('has the same keys, tokens and rows', async () => {
    fleet = await openFleet();
    const { uploadUrl } = await fleet.create('hello');
    const node = await fleet.join('n1');
    fleet = await fleet.reopen();
    expect(fleet.control.newAdminToken).toBeNull();
    expect((await fleet.join('n2')).control_public_key).toBe(node.control_public_key);
    expect((await fleet.call('PUT', uploadUrl, { body: hello, token: null })).status).toBe(200);
    expect((await fleet.beat(node)).status).toBe(200);
  });

  test('removes what an interrupted upload left', async () => {
    fleet = await openFleet();
    const left = join(fleet.dir, 'artifacts', 'incoming', 'half');
    writeFileSync(left, 'half');
    fleet = await fleet.reopen();
    expect(existsSync(left)).toBe(false);
  });

  test('refuses a database of a newer program', async () => {
    fleet = await openFleet();
    const older = sqliteMigrations().slice(0, 1);
    await expect(fleet.reopen({ migrations: older })).rejects.toThrow('newer than this program');
  });

  test.each(['upload-key', 'signing-key.pem'])('refuses a damaged key file: %s', async (name) => {
    fleet = await openFleet();
    writeFileSync(join(fleet.dir, name), 'short');
    await expect(fleet.reopen()).rejects.toThrow(`"${name}" in the data directory is damaged`);
  });
});

/** An upload whose body has not ended. */
async function beginUpload(on: Fleet): Promise<{
  running: ReturnType<Fleet['call']>;
  controller: ReadableStreamDefaultController<Uint8Array>;
}> {
  const { uploadUrl } = await on.create('hello');
  const sender = Promise.withResolvers<ReadableStreamDefaultController<Uint8Array>>();
  const body = new ReadableStream<Uint8Array>({ start: (controller) => sender.resolve(controller) });
  const running = on.call('PUT', uploadUrl, { body, token: null });
  await until(() => readdirSync(join(on.dir, 'artifacts', 'incoming')).length === 1);
  return { running, controller: await sender.promise };
}

describe('The end', () => {
  test('waits for the requests that run', async () => {
    fleet = await openFleet();
    const { running, controller } = await beginUpload(fleet);
    const closing = fleet.control.close();
    controller.enqueue(hello);
    controller.close();
    expect((await running).at('status')).toBe('published');
    await closing;
  });

  test('waits for a request that does not end no longer than the drain time', async () => {
    fleet = await openFleet();
    const { running, controller } = await beginUpload(fleet);
    // Enough bytes for the lowest rate of an upload, so that nothing else ends it.
    const seconds = Math.ceil(REQUEST_DEFAULTS.drainMs / 1_000);
    controller.enqueue(new Uint8Array(seconds * CONTROL_BOUNDS.uploadBytesPerSecondMin));
    let closed = false;
    const closing = fleet.control.close().then(() => (closed = true));
    const { call } = fleet;
    await until(async () => (await call('GET', '/livez')).code === 'shutting_down');
    await fleet.clock.advance(REQUEST_DEFAULTS.drainMs - 1);
    expect(closed).toBe(false);
    await fleet.clock.advance(1);
    await closing;
    controller.close();
    expect((await running).code).toBe('bad_magic');
  });

  test('refuses later requests, and closing twice is fine', async () => {
    fleet = await openFleet();
    await fleet.control.close();
    const refused = await fleet.call('GET', '/livez');
    expect([refused.status, refused.code]).toEqual([503, 'shutting_down']);
    await fleet.control.close();
  });
});

describe('The socket', () => {
  test('ends a held heartbeat when its client disconnects', async () => {
    fleet = await openFleet();
    const node = await fleet.join('n1');
    const digest = (await fleet.beat(node)).string('digest');
    const listener = listenControl({ control: fleet.control, hostname: '127.0.0.1', port: 0 });
    const { metrics } = fleet;
    const held = async (): Promise<boolean> => (await metrics.render()).includes('control_held_polls 1');
    try {
      const leaving = new AbortController();
      const gone = fetch(`${listener.url}/api/v1/nodes/n1/heartbeat`, {
        method: 'POST',
        headers: { authorization: `Bearer ${node.node_token}`, 'content-type': 'application/json' },
        body: JSON.stringify(heartbeatOf({ applied_digest: digest, hold_ms: 25_000 })),
        signal: leaving.signal,
      }).catch((failure: unknown) => String(failure));
      await until(held);
      leaving.abort();
      expect(await gone).toContain('Abort');
      await until(async () => !(await held()));
    } finally {
      await listener.close();
    }
  });

  test('answers as the handler does, takes an upload by its URL, and frees its port', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'edge-control-'));
    const clock = createSystemClock();
    const control = await createControl({
      dataDir: dir,
      migrations: sqliteMigrations(),
      checkModule: async (bytes, options) => checkHere(bytes, options),
      productVersion: '0.0.0-test',
      clock,
      random: systemRandom,
      log: createLog({ clock, write: () => {} }),
      metrics: createMetrics(),
    });
    const listener = listenControl({ control, hostname: '127.0.0.1', port: 0 });
    try {
      const headers = {
        authorization: `Bearer ${control.newAdminToken}`,
        'content-type': 'application/json',
      };
      const json = JSON.stringify({ name: 'hello' });
      const made = await answerOf(
        await fetch(`${listener.url}/api/v1/functions`, { method: 'POST', headers, body: json }),
      );
      expect(made.string('upload_url')).toStartWith(listener.url);
      const put = await fetch(made.string('upload_url'), { method: 'PUT', body: hello });
      expect(put.status).toBe(200);
      const got = await fetch(`${listener.url}/api/v1/artifacts/${made.string('function.id')}/1.0.0`, {
        headers,
      });
      expect(new Uint8Array(await got.arrayBuffer())).toEqual(hello);
      expect(() => listenControl({ control, hostname: '127.0.0.1', port: listener.port })).toThrow();
    } finally {
      await listener.close();
      await control.close();
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
