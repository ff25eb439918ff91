// Builds dist/edge: libwasmedge, the native libraries, the archive of both, and the executable around it.
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { compileLibrary, COMPILE_FLAGS, findCompiler, type Compiler } from './native/build/cc.ts';
import { glibcAbove, GLIBC_MAX, readElf, rewriteVersions } from './native/build/elf.ts';
import { prepareLibrary, type Library } from './native/build/library.ts';
import { joinFrames, packFiles, writeArchive } from './native/build/pack.ts';
import { BuildError, createSteps, run, stampOf, type StampParts, type Steps } from './native/build/shell.ts';
import { openStage, type Stage } from './native/build/stage.ts';

const ROOT = import.meta.dir;
const RING = 'libedge_ring.so';
const ENGINE = 'libedge_engine.so';

/** What every step needs; `recipe` is a digest of the build's own sources, an input of every step. */
type Build = { stage: Stage; steps: Steps; compiler: Compiler; recipe: string };

/** Compiles native/ring*.c and the other native/*.c into two libraries beside libwasmedge. */
async function compileNative({ stage, steps, compiler, recipe }: Build, library: Library): Promise<void> {
  await steps.step('compiling native/', async ({ note, skip }) => {
    const names = (await readdir(join(ROOT, 'native'))).filter((name) => /\.[ch]$/.test(name)).toSorted();
    const inputs: StampParts = { recipe, library: library.stamp, compiler: compiler.version };
    for (const name of names) inputs[name] = await readFile(join(ROOT, 'native', name));
    const outputs = [RING, ENGINE].map((name) => join(stage.libraryDir, name));
    if (await stage.isCurrent('native', stampOf(inputs), outputs)) return skip();
    const sources = names.filter((name) => name.endsWith('.c'));
    const ring = sources.filter((name) => /^ring(_\w+)?\.c$/.test(name));
    const engine = sources.filter((name) => !ring.includes(name));
    if (ring.length === 0 || engine.length === 0)
      throw new BuildError('native/ has no ring.c, or no other C source.');
    const paths = (of: readonly string[]): string[] => of.map((name) => join(ROOT, 'native', name));
    const link = { includeDir: stage.includeDir, libraryDir: stage.libraryDir, soname: library.soname };
    await Promise.all([
      compileLibrary({ compiler, sources: paths(ring), output: join(stage.libraryDir, RING) }),
      compileLibrary({
        compiler,
        sources: paths(engine),
        output: join(stage.libraryDir, ENGINE),
        engine: link,
      }),
    ]);
    for (const path of outputs) await limitVersions(path);
    await stage.keep('native', stampOf(inputs));
    note(`${compiler.version}, ${COMPILE_FLAGS.length} flags, warnings are errors`);
  });
}

/** Rewrites a library that was compiled with a newer glibc so that it loads with `GLIBC_MAX`. */
async function limitVersions(path: string): Promise<void> {
  const { bytes, changed } = rewriteVersions(await readFile(path));
  if (changed.length > 0) await writeFile(path, bytes);
  const above = glibcAbove(readElf(bytes));
  if (above.length > 0) throw new BuildError(`${path} needs ${above.join(', ')}, above glibc ${GLIBC_MAX}.`);
}

/** Packs all libraries into one archive and returns its stamp. The frame of libwasmedge is kept for reuse. */
async function packEngine({ stage, steps, recipe }: Build, library: Library): Promise<string> {
  return steps.step('packing the engine', async ({ note, skip }) => {
    const inputs: StampParts = { recipe, library: library.stamp };
    for (const name of [RING, ENGINE]) inputs[name] = await readFile(join(stage.libraryDir, name));
    const stamp = stampOf(inputs);
    const archivePath = stage.asset('engine.tar.zst');
    const manifestPath = stage.asset('engine.json');
    if (await stage.isCurrent('pack', stamp, [archivePath, manifestPath])) {
      skip();
      return stamp;
    }
    const basePath = join(stage.dir, 'library.tar.zst');
    if (!(await stage.isCurrent('pack library', library.stamp, [basePath]))) {
      await writeFile(basePath, await packFiles(stage.libraryDir, library.files));
      await stage.keep('pack library', library.stamp);
    }
    const archive = joinFrames([await readFile(basePath), await packFiles(stage.libraryDir, [ENGINE, RING])]);
    const names = [...library.files, ENGINE, RING];
    await writeArchive({ dir: stage.libraryDir, names, archive, archivePath, manifestPath });
    await stage.keep('pack', stamp);
    note(`${names.length} files, ${megabytes(archive.length)}`);
    return stamp;
  });
}

/** Builds dist/edge with the archive, the migrations and the hello fixture in it, and runs it once. */
async function buildExecutable({ stage, steps, recipe }: Build, packed: string): Promise<void> {
  const executable = join(ROOT, 'dist', 'edge');
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  await steps.step('building dist/edge', async ({ note, skip }) => {
    const hello = await findHello();
    const inputs: StampParts = {
      recipe,
      packed,
      bun: Bun.version,
      hello: await readFile(hello),
    };
    for (const folder of ['src', 'migrations']) Object.assign(inputs, await readTree(folder));
    for (const name of ['package.json', 'bun.lock']) inputs[name] = await readFile(join(ROOT, name));
    if (await stage.isCurrent('executable', stampOf(inputs), [executable])) return skip();
    await cp(hello, stage.asset('hello.wasm'));
    const built = await Bun.build({
      entrypoints: [join(ROOT, 'src', 'main.ts'), join(ROOT, 'src', 'program', 'program.ts')],
      compile: {
        outfile: executable,
        assets: [join(ROOT, 'migrations'), stage.assetsDir],
        autoloadDotenv: false,
        autoloadBunfig: false,
        autoloadTsconfig: false,
        autoloadPackageJson: false,
        execArgv: ['--max-http-header-size=65536'],
      },
      target: 'bun',
      format: 'esm',
      bytecode: true,
      minify: { whitespace: true, syntax: true, identifiers: false },
      sourcemap: 'none',
      define: { EDGE_VERSION: JSON.stringify(version), 'process.env.NODE_ENV': '"production"' },
      throw: false,
    });
    if (!built.success) throw new BuildError('The sources do not bundle.', built.logs.map(String).join('\n'));
    const bare = { BUN_BE_BUN: undefined, BUN_OPTIONS: undefined };
    const first = await run([executable, 'version'], { env: bare });
    if (first.exitCode !== 0 || !first.output.includes(version)) {
      await rm(executable);
      throw new BuildError(
        `The built executable does not answer "edge version" (exit ${first.exitCode}).`,
        first.output,
      );
    }
    await stage.keep('executable', stampOf(inputs));
    note(first.stdout.trim().split('\n')[0] ?? '');
  });
}

async function findHello(): Promise<string> {
  const folder = join(ROOT, 'fixtures', 'hello');
  const names = await readdir(folder).catch((): string[] => []);
  const modules = names.filter((name) => name.endsWith('.wasm')).toSorted();
  const chosen = modules.find((name) => name === 'hello-c.wasm') ?? modules[0];
  if (chosen === undefined) throw new BuildError('fixtures/hello holds no .wasm file.');
  return join(folder, chosen);
}

/** The files below `folder`, by their path from the root. */
async function readTree(folder: string): Promise<StampParts> {
  const files: StampParts = {};
  for (const entry of await readdir(join(ROOT, folder), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files[path.slice(ROOT.length)] = await readFile(path);
  }
  return files;
}

async function readRecipe(): Promise<string> {
  const folder = join(ROOT, 'native', 'build');
  const parts: StampParts = { 'build.ts': await readFile(import.meta.path) };
  for (const name of await readdir(folder)) parts[name] = await readFile(join(folder, name));
  return stampOf(parts);
}

/** Opens `${XDG_CACHE_HOME:-$HOME/.cache}/edge-build`, or .tools/edge-build when that cannot be written. */
async function openCache(): Promise<string> {
  const { XDG_CACHE_HOME: cache = '', HOME: home = '' } = process.env;
  const base = cache === '' ? join(home, '.cache') : cache;
  const candidates = [join(ROOT, '.tools', 'edge-build')];
  if (base.startsWith('/')) candidates.unshift(join(base, 'edge-build'));
  for (const dir of candidates) {
    try {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      await rm(await mkdtemp(join(dir, '.try-')), { recursive: true });
      return dir;
    } catch {
      continue;
    }
  }
  throw new BuildError(`None of these directories can be written: ${candidates.join(', ')}.`);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1)} MB`;
}

async function printSummary({ stage, steps }: Build, library: Library, startedMs: number): Promise<void> {
  const write = (text: string): void => void process.stdout.write(text);
  if (steps.times().every(({ isSkipped }) => isSkipped)) {
    write('  unchanged: every step was done before\n\n');
    return;
  }
  write(`\n${folded(library.origin)}\n\n`);
  for (const { name, ms, note } of steps.times()) {
    write(`  ${name.padEnd(28)} ${(ms / 1_000).toFixed(2).padStart(7)} s  ${note}\n`);
  }
  write(`  ${'total'.padEnd(28)} ${((performance.now() - startedMs) / 1_000).toFixed(2).padStart(7)} s\n\n`);
  const sizes: [string, string[]][] = [
    ['libwasmedge and what it needs', library.files.map((name) => join(stage.libraryDir, name))],
    [RING, [join(stage.libraryDir, RING)]],
    [ENGINE, [join(stage.libraryDir, ENGINE)]],
    ['the archive of these', [stage.asset('engine.tar.zst')]],
    ['dist/edge', [join(ROOT, 'dist', 'edge')]],
  ];
  for (const [name, paths] of sizes) {
    const bytes = await Promise.all(paths.map(async (path) => (await stat(path)).size));
    write(`  ${name.padEnd(30)} ${megabytes(bytes.reduce((sum, size) => sum + size, 0)).padStart(10)}\n`);
  }
  write('\n');
}

/** Breaks `text` into lines of at most 100 columns. */
function folded(text: string): string {
  return text.replace(/(.{1,100})(?: |$)/g, '$1\n').trimEnd();
}

async function main(): Promise<void> {
  const startedMs = performance.now();
  if (process.platform !== 'linux') throw new BuildError('edge is built on Linux only.');
  const steps = createSteps((text) => process.stdout.write(text));
  const compiler = await findCompiler(process.env['CC']);
  const build: Build = {
    stage: await openStage(join(ROOT, 'dist', 'stage')),
    steps,
    compiler,
    recipe: await readRecipe(),
  };
  const library = await prepareLibrary({
    stage: build.stage,
    steps,
    compiler,
    recipe: build.recipe,
    cacheDir: openCache,
    env: process.env,
  });
  await compileNative(build, library);
  const packed = await packEngine(build, library);
  await buildExecutable(build, packed);
  await printSummary(build, library, startedMs);
}

try {
  if (!existsSync(join(ROOT, 'node_modules')))
    throw new BuildError('There is no node_modules: run "bun install" first.');
  await main();
} catch (failure) {
  if (!(failure instanceof BuildError)) throw failure;
  if (failure.output !== '') process.stderr.write(`${failure.output.trimEnd()}\n`);
  process.stderr.write(`build: ${failure.message}\n`);
  process.exitCode = 1;
}
