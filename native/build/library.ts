// Copies libwasmedge and the libraries it needs into the stage: from Debian's packages or from WASMEDGE_LIB.
import { existsSync } from 'node:fs';
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { obtainPackages, unpackPackages, type Package } from './apt.ts';
import { findSystemLibrary, probeLibrary, type Compiler } from './cc.ts';
import { dropSearchPaths, GLIBC_MAX, glibcAbove, readElf, rewriteVersions } from './elf.ts';
import { BuildError, sha256, stampOf, type StampParts, type Steps } from './shell.ts';
import type { Stage } from './stage.ts';

export type Library = {
  soname: string;
  /** The names of all files in the stage's library directory, which are sonames. */
  files: string[];
  /** Where it came from, in one sentence. */
  origin: string;
  /** Another one whenever a byte of the files may differ. */
  stamp: string;
};

const SUITE = 'trixie';
const VERSION = '0.14.1';
const HEADERS = 'libwasmedge-dev';
const CLOSURE: readonly string[] = [
  'libwasmedge0',
  HEADERS,
  'libllvm19',
  'libz3-4',
  'libfmt10',
  'libspdlog1.15',
  'libstdc++6',
  'libgcc-s1',
  'libxml2',
  'libedit2',
  'libtinfo6',
  'libbsd0',
  'libmd0',
  'libffi8',
  'libzstd1',
  'zlib1g',
  'liblzma5',
];
/** The C library, which every machine that runs the executable has. */
const GLIBC = /^(libc|libm|libdl|libpthread|librt)\.so\.\d+$|^ld-linux-[\w-]+\.so\.\d+$/;

type Options = {
  stage: Stage;
  steps: Steps;
  compiler: Compiler;
  /** A digest of the build's own sources. */
  recipe: string;
  cacheDir: () => Promise<string>;
  env: Readonly<Record<string, string | undefined>>;
};

type Source = {
  root: string;
  headers: string;
  origin: string;
  stamp: string;
  find: (soname: string) => Promise<string | undefined>;
};

/** Prepares the library in the stage, unless it is there already. Throws BuildError. */
export async function prepareLibrary(options: Options): Promise<Library> {
  const { env, stage } = options;
  const work = await mkdtemp(join(stage.dir, '.library-'));
  try {
    const path = env['WASMEDGE_LIB'] ?? '';
    return path === '' ? await fromDebian(options, work) : await fromFile(options, { path, work });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function fromDebian(options: Options, work: string): Promise<Library> {
  const { dir, packages } = await download(options, CLOSURE);
  const engine = packages.find((entry) => entry.package === 'libwasmedge0');
  if (engine?.version.startsWith(VERSION) !== true) {
    throw new BuildError(
      `Debian ${SUITE} has libwasmedge0 ${engine?.version ?? '(none)'}, but this build knows ${VERSION}.`,
    );
  }
  const others = packages.filter((entry) => entry !== engine && entry.package !== HEADERS);
  const origin =
    `libwasmedge ${engine.version} from Debian ${SUITE}, with ` +
    others.map((entry) => `${entry.package} ${entry.version}`).join(', ');
  const stamp = stampOf(Object.fromEntries(packages.map((entry) => [entry.file, entry.sha256])));
  return stageLibrary(options, { work, stamp, origin }, async () => {
    await unpackPackages(dir, packages, work);
    const bySoname = await indexLibraries(join(work, 'usr', 'lib'));
    const root = bySoname.get('libwasmedge.so.0');
    if (root === undefined) throw new BuildError('The package libwasmedge0 holds no libwasmedge.so.0.');
    return {
      root,
      headers: join(work, 'usr', 'include'),
      origin,
      stamp,
      find: (name) => Promise.resolve(bySoname.get(name)),
    };
  });
}

async function fromFile(options: Options, { path, work }: { path: string; work: string }): Promise<Library> {
  const { compiler, env } = options;
  const bytes = await readFile(path).catch(() => undefined);
  if (bytes === undefined) throw new BuildError(`WASMEDGE_LIB names ${path}, which cannot be read.`);
  const digest = sha256(bytes);
  const expected = (env['WASMEDGE_SHA256'] ?? '').toLowerCase();
  if (expected !== '' && expected !== digest) {
    throw new BuildError(`${path} has the digest ${digest}, not ${expected} as WASMEDGE_SHA256 says.`);
  }
  const origin = `libwasmedge from WASMEDGE_LIB (sha256 ${digest})`;
  const besides = [env['WASMEDGE_INCLUDE'] ?? '', join(dirname(path), '..', 'include')];
  const headers = besides.find((dir) => dir !== '' && existsSync(join(dir, 'wasmedge', 'wasmedge.h')));
  const names = (await readdir(dirname(path))).filter((name) => name.includes('.so')).toSorted();
  const stamp = stampOf({
    digest,
    besides: names.join(' '),
    headers: await digestOfHeaders(headers),
    compiler: compiler.version,
  });
  return stageLibrary(options, { work, stamp, origin }, async () => {
    const find = async (name: string): Promise<string | undefined> => {
      const beside = join(dirname(path), name);
      return existsSync(beside) ? beside : findSystemLibrary(compiler, name);
    };
    return { root: path, headers: headers ?? (await headersOfDebian(options, work)), origin, stamp, find };
  });
}

async function digestOfHeaders(dir: string | undefined): Promise<string> {
  if (dir === undefined) return `Debian ${SUITE}`;
  const parts: StampParts = {};
  for (const name of await readdir(join(dir, 'wasmedge')))
    parts[name] = await readFile(join(dir, 'wasmedge', name));
  return stampOf(parts);
}

async function headersOfDebian(options: Options, work: string): Promise<string> {
  const { dir, packages } = await download(options, [HEADERS]);
  await unpackPackages(dir, packages, work);
  return join(work, 'usr', 'include');
}

async function download(
  options: Options,
  packages: readonly string[],
): Promise<{ dir: string; packages: Package[] }> {
  const tools = ['apt-get', 'dpkg', 'dpkg-deb', 'tar'].filter((name) => Bun.which(name) === null);
  if (tools.length > 0) {
    throw new BuildError(
      `Missing: ${tools.join(', ')} (packages apt, dpkg, tar). Or set WASMEDGE_LIB=/path/libwasmedge.so.`,
    );
  }
  return options.steps.step('downloading libwasmedge', async ({ note, skip }) => {
    const found = await obtainPackages({ cacheDir: await options.cacheDir(), suite: SUITE, packages, note });
    if (found.downloaded) note(`${found.packages.length} packages of Debian ${SUITE}`);
    else skip();
    return found;
  });
}

/** Copies the root library and all it needs, rewritten for glibc 2.36, and proves that the copies load. */
async function stageLibrary(
  options: Options,
  about: { work: string; stamp: string; origin: string },
  open: () => Promise<Source>,
): Promise<Library> {
  const { stage, steps, compiler, recipe } = options;
  const stamp = stampOf({ recipe, library: about.stamp });
  const record = join(stage.dir, 'library.json');
  return steps.step('preparing libwasmedge', async ({ note, skip }) => {
    const kept = JSON.parse(await readFile(record, 'utf8').catch(() => 'null')) as Library | null;
    const outputs = kept?.files.map((name) => join(stage.libraryDir, name)) ?? [];
    if (kept !== null && (await stage.isCurrent('library', stamp, outputs))) {
      skip();
      return kept;
    }
    const source = await open();
    await emptyDir(stage.includeDir);
    await cp(join(source.headers, 'wasmedge'), join(stage.includeDir, 'wasmedge'), { recursive: true });
    // The directory is not named "lib", so that a search path "../lib" cannot find the copies by luck.
    const libraryDir = join(about.work, 'engine');
    await mkdir(libraryDir);
    const { soname, files, rewritten } = await copyClosure(source, libraryDir);
    const [versions = '', ...mapped] = await probeLibrary({
      compiler,
      source: join(import.meta.dir, 'probe.c'),
      output: join(about.work, 'probe'),
      engine: { includeDir: stage.includeDir, libraryDir, soname },
    });
    const [loaded, headers] = versions.split(' ');
    if (loaded !== headers)
      throw new BuildError(`The library is WasmEdge ${loaded}, but the headers are of ${headers}.`);
    const canonicalDir = await realpath(libraryDir);
    const strays = mapped.filter((path) => files.includes(basename(path)) && dirname(path) !== canonicalDir);
    const absent = files.filter((name) => !mapped.includes(join(canonicalDir, name)));
    if (strays.length + absent.length > 0) {
      throw new BuildError(
        `libwasmedge takes what it needs from outside its directory: ${[...strays, ...absent].join(', ')}.`,
      );
    }
    await rm(stage.libraryDir, { recursive: true });
    await rename(libraryDir, stage.libraryDir);
    const library = { soname, files, origin: about.origin, stamp };
    await writeFile(record, JSON.stringify(library, null, 1));
    await stage.keep('library', stamp);
    note(`WasmEdge ${loaded} loads; ${rewritten} of ${files.length} files rewritten for glibc ${GLIBC_MAX}`);
    return library;
  });
}

async function copyClosure(
  source: Source,
  to: string,
): Promise<{ soname: string; files: string[]; rewritten: number }> {
  const files: string[] = [];
  let soname = '';
  let rewritten = 0;
  const queue: { path: string; name: string | undefined }[] = [{ path: source.root, name: undefined }];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const original = await readFile(next.path);
    const facts = readElf(original);
    const name = next.name ?? facts.soname ?? 'libwasmedge.so.0';
    if (files.includes(name)) continue;
    const { bytes: fitting, changed } = rewriteVersions(original);
    const bytes = dropSearchPaths(fitting);
    const above = glibcAbove(readElf(bytes));
    if (above.length > 0)
      throw new BuildError(`${name} needs ${above.join(', ')}, above glibc ${GLIBC_MAX}.`);
    await writeFile(join(to, name), bytes);
    await chmod(join(to, name), 0o755);
    files.push(name);
    if (soname === '') soname = name;
    if (changed.length > 0) rewritten += 1;
    for (const needed of facts.needed.filter((entry) => !GLIBC.test(entry) && !files.includes(entry))) {
      const path = await source.find(needed);
      if (path === undefined) throw new BuildError(`${name} needs ${needed}, which was not found.`);
      queue.push({ path, name: needed });
    }
  }
  return { soname, files: files.toSorted(), rewritten };
}

/** The shared libraries below `dir`, without symbolic links, by soname. */
async function indexLibraries(dir: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.so(\.|$)/.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    found.set(readElf(await readFile(path)).soname ?? entry.name, path);
  }
  return found;
}

async function emptyDir(dir: string): Promise<void> {
  for (const name of await readdir(dir)) await rm(join(dir, name), { recursive: true, force: true });
}
