// A build of the whole executable whose workers misbehave on command, and the program that launches it.
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { findCompiler } from '../../native/build/cc.ts';
import { joinFrames, packFiles, writeArchive } from '../../native/build/pack.ts';
import { mustRun } from '../../native/build/shell.ts';
import { executable } from '../system/harness.ts';
import { buildHostileEngine } from '../engine/hostile/hostile_worker.ts';

const ROOT = resolve(import.meta.dir, '../..');
const STAGE = join(ROOT, 'dist/stage');
/** The two libraries that are not part of libwasmedge. */
const OURS = ['libedge_engine.so', 'libedge_ring.so'];

export type Built = { program: string; launcher: string; close(): Promise<void> };

/** The program is `dist/edge`, or a build of it whose workers attack. Anyone may run it; the caller closes it. */
export async function buildLaunched(workers: 'honest' | 'hostile'): Promise<Built> {
  const dir = mkdtempSync(join(tmpdir(), 'edge-hostile-'));
  chmodSync(dir, 0o755);
  const [program, launcher] = [join(dir, 'edge'), join(dir, 'launch')];
  if (workers === 'hostile') await buildHostile(dir, program);
  else copyFileSync(executable(), program);
  const compiler = await findCompiler(process.env['CC']);
  const source = join(import.meta.dir, 'launch.c');
  const command = [compiler.command, '-std=c11', '-Wall', '-Wextra', '-Werror', '-o', launcher, source];
  await mustRun('the launcher does not compile', command);
  for (const path of [program, launcher]) chmodSync(path, 0o755);
  return { program, launcher, close: () => rm(dir, { recursive: true, force: true }) };
}

/** As build.ts does it, with another library of the engine. */
async function buildHostile(dir: string, program: string): Promise<void> {
  const engine = await buildHostileEngine();
  const assets = join(dir, 'assets');
  mkdirSync(assets);
  const library = readFileSync(join(STAGE, 'library.tar.zst'));
  await writeArchive({
    dir: engine.dir,
    names: readdirSync(engine.dir),
    archive: joinFrames([library, await packFiles(engine.dir, OURS)]),
    archivePath: join(assets, 'engine.tar.zst'),
    manifestPath: join(assets, 'engine.json'),
  });
  copyFileSync(join(STAGE, 'assets/hello.wasm'), join(assets, 'hello.wasm'));
  const built = await Bun.build({
    entrypoints: [join(ROOT, 'src/main.ts'), join(ROOT, 'src/program/program.ts')],
    compile: {
      outfile: program,
      assets: [join(ROOT, 'migrations'), assets],
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
    target: 'bun',
    format: 'esm',
    throw: false,
  });
  if (!built.success) throw new Error(built.logs.map(String).join('\n'));
  await engine.close();
}
