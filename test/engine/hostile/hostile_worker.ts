// A build of the engine whose workers or compile children misbehave on command, beside the real libraries.
import { mkdtempSync, readdirSync, symlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileLibrary, findCompiler } from '../../../native/build/cc.ts';
import { libraryDir } from '../harness.ts';

const NATIVE = join(import.meta.dir, '../../../native');
const ENGINE = 'libedge_engine.so';

/** The directory of the libraries; the caller closes it. `child` is what misbehaves. */
export async function buildHostileEngine(
  child: 'worker' | 'compile' = 'worker',
): Promise<{ dir: string; close: () => Promise<void> }> {
  const dir = mkdtempSync(join(tmpdir(), 'edge-hostile-'));
  const real = libraryDir();
  for (const name of readdirSync(real)) if (name !== ENGINE) symlinkSync(join(real, name), join(dir, name));
  const sources = readdirSync(NATIVE)
    .filter((name) => name.endsWith('.c') && !/^ring(_\w+)?\.c$/.test(name) && name !== `${child}.c`)
    .map((name) => join(NATIVE, name));
  const hostile =
    child === 'worker' ? ['hostile_worker.c', 'attacks.c', 'attacks_memory.c'] : [`hostile_${child}.c`];
  const soname = readdirSync(real).find((name) => name.startsWith('libwasmedge.so'));
  if (soname === undefined) throw new Error('libwasmedge is not built: run `bun build.ts` first');
  await compileLibrary({
    compiler: await findCompiler(process.env['CC']),
    sources: [...sources, ...hostile.map((name) => join(import.meta.dir, name))],
    output: join(dir, ENGINE),
    engine: { includeDir: join(real, '../include'), libraryDir: real, soname },
  });
  return { dir, close: () => rm(dir, { recursive: true, force: true }) };
}
