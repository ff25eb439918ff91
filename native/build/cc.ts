// Compiles C into shared libraries with warnings as errors, and a program that proves that a library loads.
import { dirname, join, relative, resolve } from 'node:path';
import { BuildError, mustRun, run } from './shell.ts';

export const COMPILE_FLAGS: readonly string[] = [
  '-std=c11',
  '-O2',
  '-fPIC',
  '-Wall',
  '-Wextra',
  '-Wpedantic',
  '-Werror',
  '-Wshadow',
  '-Wconversion',
  '-fstack-protector-strong',
  '-U_FORTIFY_SOURCE',
  '-D_FORTIFY_SOURCE=2',
  '-fvisibility=hidden',
];

const LINK_FLAGS: readonly string[] = ['-shared', '-s', '-Wl,-z,relro,-z,now,-z,noexecstack,--no-undefined'];

/** DT_RPATH, unlike DT_RUNPATH, also applies to the needs of a needed library that has no DT_RUNPATH. */
const rpath = (dir: string): string => `-Wl,--disable-new-dtags,-rpath,${dir}`;

export type Compiler = { command: string; version: string };

/** The compiler `preferred`, else cc, else gcc. Throws a sentence that names the package to install. */
export async function findCompiler(preferred: string | undefined): Promise<Compiler> {
  for (const command of [preferred, 'cc', 'gcc']) {
    const path = command === undefined || command === '' ? null : Bun.which(command);
    if (path === null) continue;
    const output = await mustRun(`${command} does not start.`, [path, '--version']);
    return { command: resolve(path), version: output.split('\n')[0] ?? '' };
  }
  throw new BuildError('There is no C compiler: install the package gcc (with libc6-dev).');
}

/**
 * Compiles `sources` into the shared library `output`. With `engine`, it is compiled with the headers in
 * `includeDir` and linked with the library `soname` in `libraryDir`, which must lie beside it at run time.
 */
export async function compileLibrary(options: {
  compiler: Compiler;
  sources: readonly string[];
  output: string;
  engine?: { includeDir: string; libraryDir: string; soname: string };
}): Promise<void> {
  const { compiler, sources, output, engine } = options;
  const name = output.split('/').at(-1) ?? output;
  const engineFlags =
    engine === undefined ? [] : ['-L.', `-l:${engine.soname}`, '-Wl,-rpath-link,.', rpath('$ORIGIN')];
  const includes = engine === undefined ? [] : ['-isystem', engine.includeDir];
  const command = [compiler.command, ...COMPILE_FLAGS, ...includes, ...LINK_FLAGS, `-Wl,-soname,${name}`];
  await mustRun(
    `The C sources of ${name} do not compile.`,
    [...command, '-o', output, ...sources, ...engineFlags],
    engine === undefined ? {} : { cwd: engine.libraryDir },
  );
}

/** Compiles `source` with the engine's library, runs it, and returns the lines that it prints. */
export async function probeLibrary(options: {
  compiler: Compiler;
  source: string;
  output: string;
  engine: { includeDir: string; libraryDir: string; soname: string };
}): Promise<string[]> {
  const { compiler, source, output, engine } = options;
  const link = [
    '-L.',
    `-l:${engine.soname}`,
    rpath(join('$ORIGIN', relative(dirname(output), engine.libraryDir))),
    '-Wl,--allow-shlib-undefined',
  ];
  await mustRun(
    'A program cannot be linked with libwasmedge.',
    [compiler.command, '-std=c11', '-isystem', engine.includeDir, '-o', output, source, ...link],
    { cwd: engine.libraryDir },
  );
  return (await mustRun('libwasmedge cannot be used on this machine.', [output])).trim().split('\n');
}

/** Where the compiler finds the shared library `name`, for a build of libwasmedge that came without it. */
export async function findSystemLibrary(compiler: Compiler, name: string): Promise<string | undefined> {
  const { exitCode, stdout } = await run([compiler.command, `-print-file-name=${name}`]);
  const path = stdout.trim();
  return exitCode === 0 && path.startsWith('/') ? path : undefined;
}
