// The artifact directory: whole files under their digest, nothing else, whatever fails.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ArtifactStore, openDiskArtifacts } from '../../../src/store/artifacts/artifacts.ts';

let dir = '';
let artifacts: ArtifactStore;

async function open(): Promise<ArtifactStore> {
  let count = 0;
  return openDiskArtifacts({ dir, nextName: () => `in_${(count += 1)}` });
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'edge-artifacts-'));
  artifacts = await open();
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function stream(...chunks: (string | Error)[]): ReadableStream<Uint8Array> {
  const rest = [...chunks];
  return new ReadableStream({
    pull(controller) {
      const next = rest.shift();
      if (next === undefined) controller.close();
      else if (next instanceof Error) controller.error(next);
      else controller.enqueue(new TextEncoder().encode(next));
    },
  });
}

const digest = createHash('sha256').update('hello').digest('hex');
const incoming = (): string[] => readdirSync(join(dir, 'incoming'));

describe('An artifact on disk', () => {
  test('is kept under its digest, readable for its owner only', async () => {
    const received = await artifacts.receive(stream('hel', 'lo'), { bytesMax: 5 });
    expect(received).toMatchObject({ sha256: digest, sizeBytes: 5 });
    await received.keep();
    const path = join(dir, digest.slice(0, 2), digest);
    expect(readFileSync(path, 'utf8')).toBe('hello');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await (await artifacts.open(digest))?.text()).toBe('hello');
    expect(incoming()).toEqual([]);
  });

  test('is not findable before it is kept, nor after it is discarded', async () => {
    const received = await artifacts.receive(stream('hello'), { bytesMax: 5 });
    expect(await artifacts.open(digest)).toBeNull();
    expect(new TextDecoder().decode(await received.bytes())).toBe('hello');
    await received.discard();
    await expect(received.bytes()).rejects.toThrow('before it is kept or discarded');
    expect(await artifacts.open(digest)).toBeNull();
    expect(incoming()).toEqual([]);
  });

  test('is kept twice without harm, and discarding after keeping removes nothing', async () => {
    for (const _ of [1, 2]) {
      const received = await artifacts.receive(stream('hello'), { bytesMax: 5 });
      await received.keep();
      await received.discard();
    }
    expect(await (await artifacts.open(digest))?.text()).toBe('hello');
  });

  test('is removed, also when it is not there', async () => {
    await (await artifacts.receive(stream('hello'), { bytesMax: 5 })).keep();
    await artifacts.remove(digest);
    await artifacts.remove(digest);
    expect(await artifacts.open(digest)).toBeNull();
  });
});

describe('A stream that must not become an artifact', () => {
  test('is cut at the limit, long before its end', async () => {
    let pulled = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled += 1;
        controller.enqueue(new Uint8Array(1_000));
      },
    });
    await expect(artifacts.receive(endless, { bytesMax: 10_000 })).rejects.toMatchObject({
      code: 'artifact_too_large',
    });
    expect(pulled).toBeLessThan(20);
    expect(incoming()).toEqual([]);
  });

  test('is refused when it is empty', async () => {
    await expect(artifacts.receive(stream(), { bytesMax: 5 })).rejects.toMatchObject({
      code: 'artifact_empty',
    });
    await expect(artifacts.receive(null, { bytesMax: 5 })).rejects.toMatchObject({ code: 'artifact_empty' });
    expect(incoming()).toEqual([]);
  });

  test('leaves nothing when the sender goes away', async () => {
    const broken = stream('hel', new Error('gone'));
    await expect(artifacts.receive(broken, { bytesMax: 5 })).rejects.toThrow('gone');
    expect(incoming()).toEqual([]);
  });

  test('leaves nothing that a next start would keep', async () => {
    writeFileSync(join(dir, 'incoming', 'half'), 'hel');
    mkdirSync(join(dir, 'incoming', 'folder'));
    await (await artifacts.receive(stream('hello'), { bytesMax: 5 })).keep();
    artifacts = await open();
    expect(incoming()).toEqual([]);
    expect(await (await artifacts.open(digest))?.text()).toBe('hello');
  });
});

test('A name that is no digest reaches no file', async () => {
  writeFileSync(join(dir, 'secret'), 'secret');
  for (const name of ['../secret', '', digest.toUpperCase(), `${digest}/..`]) {
    await expect(artifacts.open(name)).rejects.toThrow('64 hexadecimal digits');
  }
  expect(existsSync(join(dir, 'secret'))).toBe(true);
});
