// Downloads packages of another Debian release with apt, in private directories and without root.
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { BuildError, mustRun, run, sha256, stampOf } from './shell.ts';
import { type AptSource, findArchive, parseSources, renderSource } from './sources.ts';

export type Package = { package: string; version: string; file: string; sha256: string };

const INDEX = 'index.json';
const APT_ETC = '/etc/apt';

/**
 * The packages of `suite` as files in a directory below `cacheDir`: downloaded once, and checked against
 * their digests at every later call. `note` gets the progress of the download. Throws BuildError with apt's
 * output.
 */
export async function obtainPackages(options: {
  cacheDir: string;
  suite: string;
  packages: readonly string[];
  note: (text: string) => void;
}): Promise<{ dir: string; packages: Package[]; downloaded: boolean }> {
  const { cacheDir, suite, packages, note } = options;
  const architecture = (
    await mustRun('dpkg did not name its architecture.', ['dpkg', '--print-architecture'])
  ).trim();
  const key = stampOf({ suite, architecture, packages: packages.join(' ') }).slice(0, 16);
  const dir = join(cacheDir, `debian-${suite}-${key}`);
  const kept = await readKept(dir);
  if (kept !== undefined) return { dir, packages: kept, downloaded: false };

  await mkdir(cacheDir, { recursive: true });
  const work = await mkdtemp(join(cacheDir, '.apt-'));
  try {
    const source = renderSource(await archiveOfMachine(), { suite, architecture });
    const config = await writePrivateApt(work, source);
    note(`reading the package lists of Debian ${suite}`);
    await update(config, { suite, source });
    await checkRelease(join(work, 'lists'), suite);
    const debs = join(work, 'debs');
    await mkdir(debs);
    const watch = setInterval(() => void progressOf(debs, packages.length).then(note), 1_000);
    try {
      await mustRun(
        `apt-get could not download the packages of Debian ${suite}.`,
        [
          'apt-get',
          '-c',
          config,
          '-q',
          '-y',
          'download',
          ...packages.map((name) => `${name}:${architecture}`),
        ],
        { cwd: debs },
      );
    } finally {
      clearInterval(watch);
    }
    const found = await describePackages(debs);
    await writeFile(join(debs, INDEX), JSON.stringify(found, null, 1));
    await rm(dir, { recursive: true, force: true });
    await rename(debs, dir);
    return { dir, packages: found, downloaded: true };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Unpacks the packages in `from` into `to` with `dpkg -x`, which runs no script of a package. */
export async function unpackPackages(from: string, packages: readonly Package[], to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const { file } of packages) {
    await mustRun(`dpkg could not unpack ${file}.`, ['dpkg', '-x', join(from, file), to]);
  }
}

async function readKept(dir: string): Promise<Package[] | undefined> {
  try {
    const kept = JSON.parse(await readFile(join(dir, INDEX), 'utf8')) as Package[];
    for (const entry of kept) {
      if (sha256(await readFile(join(dir, entry.file))) !== entry.sha256) return undefined;
    }
    return kept;
  } catch {
    return undefined;
  }
}

async function archiveOfMachine(): Promise<AptSource> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const codename = /^VERSION_CODENAME=["']?([a-z]+)/m.exec(release)?.[1] ?? '';
  const parts = await readdir(join(APT_ETC, 'sources.list.d')).catch((): string[] => []);
  const files = [
    join(APT_ETC, 'sources.list'),
    ...parts
      .filter((name) => /^[\w.-]+\.(list|sources)$/.test(name))
      .toSorted()
      .map((name) => join(APT_ETC, 'sources.list.d', name)),
  ];
  const sources: AptSource[] = [];
  for (const file of files.filter((path) => existsSync(path))) {
    sources.push(...parseSources(file, await readFile(file, 'utf8').catch(() => '')));
  }
  const archive = findArchive(sources, codename);
  if (archive === undefined) {
    throw new BuildError(
      `The apt sources of this machine (${APT_ETC}) name no Debian archive with "${codename} main"; ` +
        'add one, or bring a build of the library with WASMEDGE_LIB=/path/libwasmedge.so.',
    );
  }
  return archive;
}

/** What apt writes stays below `work`. The machine's hooks and pins do not apply, its proxies and keys do. */
async function writePrivateApt(work: string, source: string): Promise<string> {
  for (const name of ['state', 'lists/partial', 'cache/archives/partial', 'sources']) {
    await mkdir(join(work, name), { recursive: true });
  }
  await writeFile(join(work, 'status'), '');
  await writeFile(join(work, 'sources', 'archive.sources'), source);
  const settings: Record<string, string> = {
    'Dir::State': join(work, 'state/'),
    'Dir::State::lists': join(work, 'lists/'),
    'Dir::State::status': join(work, 'status'),
    'Dir::Cache': join(work, 'cache/'),
    'Dir::Etc::sourcelist': '/dev/null',
    'Dir::Etc::sourceparts': join(work, 'sources/'),
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'APT::Sandbox::User': 'root',
    'APT::Update::Error-Mode': 'any',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
  };
  const cleared = ['Pre-Invoke', 'Post-Invoke', 'Post-Invoke-Success'].map(
    (hook) => `#clear APT::Update::${hook};\n`,
  );
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`);
  const config = join(work, 'apt.conf');
  await writeFile(config, [...cleared, ...lines].join(''));
  return config;
}

async function update(config: string, { suite, source }: { suite: string; source: string }): Promise<void> {
  const { exitCode, output } = await run(['apt-get', '-c', config, '-q', 'update']);
  if (exitCode === 0) return;
  if (
    /NO_PUBKEY|is not signed|public key is not available|couldn't be verified|Sqv returned|EXPKEYSIG/i.test(
      output,
    )
  ) {
    throw new BuildError(
      `The keys of this machine do not verify Debian ${suite}: upgrade the package debian-archive-keyring.`,
      output,
    );
  }
  throw new BuildError(
    `apt-get could not read the package lists of Debian ${suite} from this source:\n${source}`,
    output,
  );
}

async function checkRelease(lists: string, suite: string): Promise<void> {
  for (const name of await readdir(lists)) {
    if (!/_(In)?Release$/.test(name)) continue;
    const text = (await readFile(join(lists, name), 'utf8')).slice(0, 4_096);
    if (/^Origin: Debian$/m.test(text) && new RegExp(`^(Codename|Suite): ${suite}$`, 'm').test(text)) return;
  }
  throw new BuildError(
    `The archive in this machine's apt sources is not Debian's, or has no release named ${suite}.`,
  );
}

async function describePackages(debs: string): Promise<Package[]> {
  const found: Package[] = [];
  for (const file of (await readdir(debs)).filter((name) => name.endsWith('.deb')).toSorted()) {
    const path = join(debs, file);
    const text = await mustRun(`dpkg-deb could not read ${file}.`, [
      'dpkg-deb',
      '-f',
      path,
      'Package',
      'Version',
    ]);
    const field = (name: string): string => new RegExp(`^${name}: (.+)$`, 'm').exec(text)?.[1] ?? '';
    found.push({
      package: field('Package'),
      version: field('Version'),
      file: basename(file),
      sha256: sha256(await readFile(path)),
    });
  }
  return found;
}

async function progressOf(dir: string, count: number): Promise<string> {
  const names = await readdir(dir).catch((): string[] => []);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(dir, name)).then(
        (entry) => entry.size,
        () => 0,
      ),
    ),
  );
  const megabytes = sizes.reduce((sum, size) => sum + size, 0) / 1e6;
  const done = names.filter((name) => name.endsWith('.deb')).length;
  return `${done} of ${count} packages, ${megabytes.toFixed(0)} MB`;
}
