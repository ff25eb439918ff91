// Durable writes and moves leave whole files only, and a bounded read refuses all but regular files.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { moveDurably, readFileBounded, writeDurably } from '../../src/base/durable.ts';

let dir = '';

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'edge-durable-'));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

describe('A durable write', () => {
  test('makes the directory, replaces the file and leaves nothing else', async () => {
    const path = join(dir, 'a', 'file');
    await writeDurably(path, 'old', { mode: 0o600, tag: 'one' });
    await writeDurably(path, 'new', { mode: 0o600, tag: 'two' });
    expect(await readFile(path, 'utf8')).toBe('new');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(dir, 'a'))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(dir, 'a'))).toEqual(['file']);
  });

  test('keeps the old file and removes its own when it fails', async () => {
    await mkdir(join(dir, 'taken'));
    await expect(writeDurably(join(dir, 'taken'), 'x', { mode: 0o600, tag: 'one' })).rejects.toThrow();
    expect(await readdir(dir)).toEqual(['taken']);
  });

  test('goes on where an earlier one left its temporary file', async () => {
    await writeFile(join(dir, '.tmp-one'), 'half');
    await writeDurably(join(dir, 'file'), 'whole', { mode: 0o600, tag: 'one' });
    expect(await readdir(dir)).toEqual(['file']);
  });
});

describe('A durable move', () => {
  test('makes the directory of the target', async () => {
    await writeFile(join(dir, 'incoming'), 'bytes');
    await moveDurably(join(dir, 'incoming'), join(dir, 'ab', 'abc'));
    expect(await readFile(join(dir, 'ab', 'abc'), 'utf8')).toBe('bytes');
    expect(await readdir(dir)).toEqual(['ab']);
  });
});

describe('A bounded read', () => {
  test('gives the bytes, and null where there is no file', async () => {
    await writeFile(join(dir, 'file'), 'bytes');
    expect(await readFileBounded(join(dir, 'file'), 5)).toEqual(new TextEncoder().encode('bytes'));
    expect(await readFileBounded(join(dir, 'nothing'), 5)).toBeNull();
  });

  test('refuses what is larger, a directory, a symbolic link and a FIFO', async () => {
    await writeFile(join(dir, 'file'), 'bytes');
    await symlink(join(dir, 'file'), join(dir, 'link'));
    Bun.spawnSync(['mkfifo', join(dir, 'fifo')]);
    await expect(readFileBounded(join(dir, 'file'), 4)).rejects.toThrow('larger than 4 bytes');
    await expect(readFileBounded(dir, 5)).rejects.toThrow();
    await expect(readFileBounded(join(dir, 'link'), 5)).rejects.toThrow();
    await expect(readFileBounded(join(dir, 'fifo'), 5)).rejects.toThrow('not a regular file');
  });
});
