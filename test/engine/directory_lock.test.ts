// The lock on a directory: one process at a time, whatever is removed from the directory.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lockDirectory } from '../../src/engine/directory_lock.ts';

let dir = '';

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'edge-lock-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const SOURCE = join(import.meta.dir, '../../src/engine/directory_lock.ts');
/** Locks the directory in a process of its own, says so, and stays. */
const HOLDER = `import { lockDirectory } from ${JSON.stringify(SOURCE)};
const lock = lockDirectory(process.argv.at(-1));
process.stdout.write(lock === null ? 'refused' : 'locked');
setInterval(() => lock, 1_000);`;

async function startHolder(): Promise<{ word: string; kill(): Promise<void> }> {
  const holder = Bun.spawn([process.execPath, '-e', HOLDER, dir], { stdout: 'pipe' });
  const { value } = await holder.stdout.getReader().read();
  return {
    word: new TextDecoder().decode(value),
    async kill() {
      holder.kill('SIGKILL');
      await holder.exited;
    },
  };
}

describe('A locked directory', () => {
  test('is refused to another process, also after all its files were removed, until the first ends', async () => {
    writeFileSync(join(dir, 'a.lock'), '');
    const first = await startHolder();
    try {
      expect(first.word).toBe('locked');
      rmSync(join(dir, 'a.lock'));
      expect(lockDirectory(dir)).toBeNull();
      const second = await startHolder();
      await second.kill();
      expect(second.word).toBe('refused');
    } finally {
      await first.kill();
    }
    const lock = lockDirectory(dir);
    expect(lock).not.toBeNull();
    lock?.close();
  });

  test('is free after the lock was closed', () => {
    lockDirectory(dir)?.close();
    const again = lockDirectory(dir);
    expect(again).not.toBeNull();
    again?.close();
  });

  test('stays free where the lock is on another one', () => {
    mkdirSync(join(dir, 'inner'));
    const [outer, inner] = [lockDirectory(dir), lockDirectory(join(dir, 'inner'))];
    expect([outer === null, inner === null]).toEqual([false, false]);
    outer?.close();
    inner?.close();
  });

  test('that does not exist is an error and no refusal', () => {
    expect(() => lockDirectory(join(dir, 'missing'))).toThrow();
  });
});
