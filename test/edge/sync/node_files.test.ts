// A node comes back with what it had, whatever happened to its files, and loses nothing that it can keep.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createManualClock } from '../../../src/base/clock.ts';
import { systemRandom } from '../../../src/base/id.ts';
import { createLog } from '../../../src/base/log.ts';
import { readStored, type SignedAnswer } from '../../../src/edge/sync/accept.ts';
import { type Credentials, type NodeFiles, openNodeFiles } from '../../../src/edge/sync/node_files.ts';
import { desiredDigest } from '../../../src/model/rules/desired.ts';
import { createFakeControl, desiredFunction } from '../fake_control.ts';

const control = createFakeControl();
const credentials: Credentials = {
  node_id: 'n1',
  node_token: 'a-node-secret-of-some-length',
  control_public_key: control.publicKey,
};
const FILES = ['node.json', 'desired.state'];

let dataDir = '';
let lines: string[];

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'edge-node-'));
  lines = [];
});
afterEach(() => rmSync(dataDir, { recursive: true }));

function open(nodeId = 'n1'): NodeFiles {
  const log = createLog({ clock: createManualClock(0), write: (line) => void lines.push(line) });
  return openNodeFiles({ dataDir, nodeId, random: systemRandom, log });
}

function answer(revision: number, signer = control): SignedAnswer {
  const desired = { functions: [desiredFunction(1, `${revision}.0.0`)] };
  const { body, signature } = signer.sign({
    node_id: 'n1',
    revision,
    digest: desiredDigest(desired),
    desired,
    next_heartbeat_ms: 0,
  });
  return { bytes: Buffer.from(body), signature, key: signer.publicKey };
}

/** A node that has joined and accepted the revisions 1 and 2. */
async function lived(): Promise<void> {
  const files = open();
  await files.keepCredentials(credentials);
  await files.keepDesired(answer(1));
  await files.keepDesired(answer(2));
}

async function loaded(): Promise<{ credentials: Credentials | null; revision: number | null }> {
  const files = open();
  const found = await files.loadCredentials();
  return { credentials: found, revision: (await files.loadDesired(found))?.accepted.revision ?? null };
}

const pathOf = (name: string): string => join(dataDir, name);

/** Every way in which a file may come to harm; none of them may make a reader wait. */
const DAMAGES: readonly [string, (path: string) => void][] = [
  ['gone', (path) => rmSync(path)],
  ['empty', (path) => truncateSync(path, 0)],
  ['cut short', (path) => truncateSync(path, statSync(path).size - 1)],
  ['garbage', (path) => writeFileSync(path, Buffer.from(systemRandom(500)))],
  ['huge', (path) => truncateSync(path, 512 * 1_024 * 1_024)],
  [
    'one bit off',
    (path) => {
      const bytes = readFileSync(path);
      bytes[40] = (bytes[40] ?? 0) ^ 1;
      writeFileSync(path, bytes);
    },
  ],
  [
    'a directory',
    (path) => {
      rmSync(path);
      mkdirSync(join(path, 'inside'), { recursive: true });
    },
  ],
  [
    'a pipe',
    (path) => {
      rmSync(path);
      Bun.spawnSync(['mkfifo', path]);
    },
  ],
  ['unreadable', (path) => chmodSync(path, 0)],
];

describe('A node whose files are whole', () => {
  test('finds what it kept, in private files', async () => {
    await lived();
    expect(await loaded()).toEqual({ credentials, revision: 2 });
    for (const name of FILES) expect(statSync(pathOf(name)).mode & 0o777).toBe(0o600);
    expect(lines).toEqual([]);
  });

  test('finds nothing before it joined', async () => {
    expect(await loaded()).toEqual({ credentials: null, revision: null });
    expect(lines).toEqual([]);
  });
});

describe.each(FILES)('A node whose %s', (name) => {
  test.each(DAMAGES)(
    'is %s keeps its identity and its last state but one, and mends the file',
    async (what, damage) => {
      await lived();
      damage(pathOf(name));
      const isHarmless = what === 'unreadable' && process.getuid?.() === 0;
      const revision = name === 'node.json' || isHarmless ? 2 : 1;
      expect(await loaded()).toEqual({ credentials, revision });
      lines.length = 0;
      expect(await loaded()).toEqual({ credentials, revision });
      expect(lines).toEqual([]);
      const files = open();
      await files.keepCredentials(credentials);
      await files.keepDesired(answer(3));
      expect(await loaded()).toEqual({ credentials, revision: 3 });
      damage(pathOf(name));
      expect((await loaded()).credentials).toEqual(credentials);
    },
  );

  test('and its previous copy are damaged knows it, and can begin anew', async () => {
    await lived();
    for (const copy of [name, `${name}.previous`]) writeFileSync(pathOf(copy), 'x');
    const found = await loaded();
    expect(name === 'node.json' ? found.credentials : found.revision).toBeNull();
    expect(lines.join('')).toContain('is damaged');
    await lived();
    expect(await loaded()).toEqual({ credentials, revision: 2 });
  });
});

describe('A stored desired state', () => {
  test('is believed in another revision by nobody', async () => {
    await lived();
    const text = readFileSync(pathOf('desired.state'), 'utf8');
    writeFileSync(pathOf('desired.state'), text.replace('"revision":2', '"revision":9'));
    expect((await loaded()).revision).toBe(1);
  });

  test('with any bit flipped is the same state or none', async () => {
    await lived();
    const path = pathOf('desired.state');
    const bytes = readFileSync(path);
    const whole = (await loaded()).revision;
    for (const copy of [`${path}.previous`, path]) rmSync(copy);
    for (let at = 0; at < bytes.length; at += 3) {
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      const read = readStored(flipped, { key: control.publicKey, formerKey: null, nodeId: 'n1' });
      // The name of the key stands beside the signature: it binds nothing where a key is pinned.
      const isKeyName = at >= 86 && at < bytes.indexOf(0x0a);
      if (!isKeyName) expect(read).toBeNull();
      else if (read !== null) expect(read.accepted.revision).toBe(whole ?? -1);
    }
  });

  test('of another control plane, or of another node, is not served', async () => {
    const files = open();
    await files.keepCredentials(credentials);
    await files.keepDesired(answer(1, createFakeControl()));
    expect((await loaded()).revision).toBeNull();
    await lived();
    expect(await open('n2').loadDesired(credentials)).toBeNull();
  });

  test('of the control plane before is served until the one of now has answered', async () => {
    const now = createFakeControl();
    const files = open();
    await files.keepCredentials(credentials);
    await files.keepDesired(answer(1));
    const former_public_key = control.publicKey;
    await files.keepCredentials({ ...credentials, control_public_key: now.publicKey, former_public_key });
    const found = await open().loadCredentials();
    expect(found?.former_public_key).toBe(control.publicKey);
    const stored = await open().loadDesired(found);
    expect([stored?.accepted.revision, stored?.signedBy]).toEqual([1, control.publicKey]);
    await files.keepDesired(answer(7, now));
    const later = await open().loadDesired(found);
    expect([later?.accepted.revision, later?.signedBy]).toEqual([7, now.publicKey]);
  });

  test('is served by a node that lost its credentials', async () => {
    await lived();
    for (const copy of ['node.json', 'node.json.previous']) rmSync(pathOf(copy));
    expect(await loaded()).toEqual({ credentials: null, revision: 2 });
  });
});

describe('A disk that refuses', () => {
  test('costs nothing but a line in the log, and is tried again', async () => {
    await lived();
    const files = open();
    rmSync(dataDir, { recursive: true });
    writeFileSync(dataDir, 'in the way');
    await files.keepCredentials(credentials);
    await files.keepDesired(answer(3));
    await files.keepDesired(answer(4));
    await files.catchUp();
    expect(lines.filter((line) => line.includes('cannot be written'))).toHaveLength(2);
    rmSync(dataDir);
    await files.catchUp();
    expect(await loaded()).toEqual({ credentials, revision: 4 });
    expect(lines.filter((line) => line.includes('can be written again'))).toHaveLength(2);
    expect(existsSync(pathOf('node.json.previous'))).toBe(true);
    expect(lines.join('')).not.toContain('a-node-secret');
  });
});
