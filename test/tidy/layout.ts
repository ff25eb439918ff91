// Rules about the whole repository: its top level, names that must not appear, and the error table.
import type { ErrorEntry } from '../../src/base/errors.ts';
import { isFloor } from './floors.ts';
import { type Finding, type Rule, type SourceFile, isTypeScript } from './repository.ts';

const TOP = new Set([
  'package.json',
  'bunfig.toml',
  'tsconfig.json',
  'src',
  'native',
  'migrations',
  'fixtures',
  'test',
  'build.ts',
  'README.md',
  'LICENSE',
  'bun.lock',
]);

/** The root and src/ have a fixed list of entries. */
export function topLevelFindings(paths: readonly string[]): Finding[] {
  const tops = new Set(paths.map((path) => path.split('/')[0] ?? ''));
  const inside = new Set(
    paths.filter((path) => path.startsWith('src/')).map((path) => path.split('/')[1] ?? ''),
  );
  const strangers = [...tops].filter((name) => !TOP.has(name) && !name.startsWith('.'));
  const guests = [...inside].filter((name) => !isFloor(name));
  return [
    ...strangers.map((path) => ({
      path,
      line: 1,
      sentence: 'the top level is fixed: put it in the folder it belongs to.',
    })),
    ...guests.map((name) => ({
      path: `src/${name}`,
      line: 1,
      sentence: 'this is no floor of src/: put the files on the floor whose imports they need.',
    })),
  ];
}

/** Hosts of packages, as patterns that this file does not match itself. */
const HOSTS = new RegExp(
  [
    String.raw`\bregistry[.][a-z0-9-]+[.][a-z]{2,}`,
    String.raw`\bnpmjs[.](org|com)|\bcrates[.]io|\bpypi[.]org`,
    String.raw`\b(deb|ftp|security|archive)[.](debian|ubuntu)[.][a-z]+`,
  ].join('|'),
  'i',
);
const SESSION = /[/]work[/](shared|main|[.]library)/;

export const hostsRule: Rule = (files) =>
  files
    .filter((file) => file.path !== 'bun.lock')
    .flatMap((file) =>
      file.text.split('\n').flatMap((line, at): Finding[] => {
        const place = { path: file.path, line: at + 1 };
        const host = HOSTS.exec(line)?.[0];
        if (host !== undefined)
          return [{ ...place, sentence: `${host} is named: let the tool's own settings say where it is.` }];
        const session = SESSION.exec(line)?.[0];
        if (session === undefined) return [];
        return [
          {
            ...place,
            sentence: `${session} exists on one machine only: bring what is needed into the repository.`,
          },
        ];
      }),
    );

/** Finds the codes that neither a test outside test/tidy nor the manifest of the fixtures names. */
export function untestedCodes(codes: readonly string[], files: readonly SourceFile[]): Finding[] {
  const isWitness = (file: SourceFile): boolean => {
    if (file.path.startsWith('fixtures/')) return file.path.endsWith('.json');
    return isTypeScript(file) && file.path.startsWith('test/') && !file.path.startsWith('test/tidy');
  };
  const named = new Set(
    files.filter(isWitness).flatMap((file) => file.text.match(/\b[a-z]+(_[a-z]+)*\b/g) ?? []),
  );
  return codes
    .filter((code) => !named.has(code))
    .map((code) => ({
      path: 'src/base/errors.ts',
      line: 1,
      sentence: `no test names the code ${code}: write the test in which it is the answer.`,
    }));
}

/** Each part of the table has its own statuses, and a code stands in one part only. */
export function errorTableFindings(
  parts: readonly {
    name: string;
    statuses: readonly number[];
    entries: Readonly<Record<string, ErrorEntry>>;
  }[],
): Finding[] {
  const seen = new Set<string>();
  const at = { path: 'src/base/errors.ts', line: 1 };
  return parts.flatMap(({ name, statuses, entries }) =>
    Object.entries(entries).flatMap(([code, entry]): Finding[] => {
      const findings: Finding[] = [];
      if (seen.has(code)) findings.push({ ...at, sentence: `${code} stands twice: one code, one meaning.` });
      seen.add(code);
      const isOffered = statuses.includes(entry.status);
      if (!isOffered)
        findings.push({
          ...at,
          sentence: `${code} has status ${entry.status}: ${name} may have ${statuses.join(', ')}.`,
        });
      if (!/^[A-Z].*\.$/.test(entry.message))
        findings.push({ ...at, sentence: `${code} needs a whole sentence as its message.` });
      if (!/^[a-z]+(_[a-z]+)*$/.test(code))
        findings.push({ ...at, sentence: `${code} is not lower case with underscores.` });
      return findings;
    }),
  );
}
