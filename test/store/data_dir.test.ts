// A data directory: who may use it, and the private files in it.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { claimDirectory, createPrivateFiles } from '../../src/store/data_dir.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'edge-claim-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const SOURCE = join(import.meta.dir, '../../src/store/data_dir.ts');
/** Claims the directory in a process of its own, says so, and stays. */
const HOLDER = `import { claimDirectory, createPrivateFiles } from ${JSON.stringify(SOURCE)};
const claim = claimDirectory(process.argv.at(-1), 'node');
process.stdout.write(claim === null ? 'refused' : 'claimed');
setInterval(() => claim, 1_000);`;

describe('A data directory', () => {
  test('is made, and free again after its claim was closed', () => {
    const inner = join(dir, 'a', 'b');
    const claim = claimDirectory(inner, 'control');
    expect(claim).not.toBeNull();
    claim?.close();
    const again = claimDirectory(inner, 'control');
    expect(again).not.toBeNull();
    again?.close();
  });

  test('is refused while another process has it, and free once that was killed', async () => {
    const holder = Bun.spawn([process.execPath, '-e', HOLDER, dir], { stdout: 'pipe' });
    try {
      const { value } = await holder.stdout.getReader().read();
      expect(new TextDecoder().decode(value)).toBe('claimed');
      expect(claimDirectory(dir, 'node')).toBeNull();
      const other = claimDirectory(dir, 'control');
      expect(other).not.toBeNull();
      other?.close();
    } finally {
      holder.kill('SIGKILL');
      await holder.exited;
    }
    const claim = claimDirectory(dir, 'node');
    expect(claim).not.toBeNull();
    claim?.close();
  });

  test('has a lock that nobody else can open, also where it has been open to all', () => {
    const path = join(dir, 'node.lock');
    writeFileSync(path, '', { mode: 0o666 });
    claimDirectory(dir, 'node')?.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('that cannot be made is an error and no refusal', () => {
    expect(() => claimDirectory('/proc/edge', 'node')).toThrow();
  });
});

describe('A private file', () => {
  test('is null before it is written, then holds the newest text', async () => {
    const files = createPrivateFiles({ dir: join(dir, 'made') });
    expect(await files.read('key')).toBeNull();
    await files.write('key', 'first');
    await files.write('key', 'second');
    expect(await files.read('key')).toBe('second');
  });

  test('is readable for its owner only, and so is its directory', async () => {
    const files = createPrivateFiles({ dir: join(dir, 'made') });
    await files.write('key', 'text');
    expect(statSync(join(dir, 'made', 'key')).mode & 0o777).toBe(0o600);
    expect(statSync(join(dir, 'made')).mode & 0o777).toBe(0o700);
    expect(readdirSync(join(dir, 'made'))).toEqual(['key']);
  });

  test('is written although an earlier process died while it wrote', async () => {
    writeFileSync(join(dir, '.tmp-key'), 'half');
    const files = createPrivateFiles({ dir });
    await files.write('key', 'whole');
    expect(await files.read('key')).toBe('whole');
    expect(readdirSync(dir)).toEqual(['key']);
  });
});
