// Which apt source of a machine is the Debian archive, and the source that the build derives from it.
import { describe, expect, test } from 'bun:test';
import { findArchive, parseSources, renderSource } from '../../native/build/sources.ts';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

const IMAGE = `Types: deb
# A comment between the fields.
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: ${KEYRING}

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: ${KEYRING}
`;

const VENDOR = `Types: deb
URIs: https://packages.vendor.example/debian
Suites: bookworm
Components: main
Signed-By: /etc/apt/keyrings/vendor.gpg
`;

const archiveOf = (files: Record<string, string>, codename = 'bookworm'): string => {
  const sources = Object.entries(files).flatMap(([name, text]) => parseSources(name, text));
  const archive = findArchive(sources, codename);
  return archive === undefined ? 'none' : renderSource(archive, { suite: 'trixie', architecture: 'amd64' });
};

const rendered = (uri: string, trust: string): string =>
  `Types: deb\nURIs: ${uri}\nSuites: trixie\nComponents: main\nArchitectures: amd64\n` +
  `Targets: Packages\n${trust}`;

describe('The source of the other suite', () => {
  test('is the archive of a deb822 file, with its key', () => {
    expect(archiveOf({ 'debian.sources': IMAGE })).toBe(
      rendered('http://mirror.example/debian', `Signed-By: ${KEYRING}\n`),
    );
  });

  test('is the archive of a one-line file, with its options and without its comments', () => {
    const list = `# deb http://old.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=${KEYRING}] http://mirror.example/debian/ bookworm main contrib # here
deb http://mirror.example/debian-security bookworm-security main
`;
    expect(archiveOf({ 'sources.list': list })).toBe(
      rendered('http://mirror.example/debian/', `Signed-By: ${KEYRING}\n`),
    );
  });

  test.each([
    'mirror+file:/etc/apt/mirrors/debian.list',
    'cdrom:[Debian]/',
    'https://10.0.0.1:8080/apt/debian',
  ])('keeps the address as it is: %s', (uri) => {
    const text = `Types: deb deb-src\nURIs: ${uri}\nSuites: bookworm\nComponents: main\n`;
    expect(archiveOf({ 'debian.sources': text })).toBe(rendered(uri, ''));
  });

  test.each(['stable', 'trixie', 'sid'])('is found on a machine that follows %s', (suite) => {
    const text = `deb http://mirror.example/debian ${suite} main\n`;
    expect(archiveOf({ 'a.list': text }, 'trixie')).toBe(rendered('http://mirror.example/debian', ''));
  });

  test('keeps an embedded key with its lines', () => {
    const key =
      'Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abcd\n -----END PGP PUBLIC KEY BLOCK-----\n';
    const text = `Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n${key}`;
    const [, found] = archiveOf({ 'a.sources': text }).split('Signed-By:');
    expect(found?.trimEnd().split('\n').slice(1)).toEqual([
      ' -----BEGIN PGP PUBLIC KEY BLOCK-----',
      ' .',
      ' abcd',
      ' -----END PGP PUBLIC KEY BLOCK-----',
    ]);
  });
});

describe('A source that is not the Debian archive', () => {
  test('loses against the archive, whichever is read first', () => {
    const wanted = rendered('http://mirror.example/debian', `Signed-By: ${KEYRING}\n`);
    expect(archiveOf({ 'a.sources': VENDOR, 'debian.sources': IMAGE })).toBe(wanted);
    expect(archiveOf({ 'debian.sources': IMAGE, 'z.sources': VENDOR })).toBe(wanted);
  });

  test('loses against an archive that names no key, too', () => {
    const list =
      'deb http://mirror.example/debian bookworm main\n' +
      'deb http://mirror.example/debian bookworm-updates main\n';
    expect(archiveOf({ 'a.sources': VENDOR, 'sources.list': list })).toBe(
      rendered('http://mirror.example/debian', ''),
    );
  });

  test.each([
    ['another suite', 'deb http://apt.vendor.example/x bookworm-pgdg main\n'],
    ['another component', 'deb http://apt.vendor.example/x bookworm stable\n'],
    ['sources only', 'deb-src http://mirror.example/debian bookworm main\n'],
    ['a comment', '# deb http://mirror.example/debian bookworm main\n'],
    ['the security archive', 'deb http://mirror.example/debian-security bookworm-security main\n'],
  ])('is never taken: %s', (_, text) => {
    expect(archiveOf({ 'a.list': text })).toBe('none');
  });

  test.each(['no', 'false', 'No'])('is never taken when it says Enabled: %s', (value) => {
    expect(
      archiveOf({ 'debian.sources': IMAGE.replace('Types: deb\n#', `Types: deb\nEnabled: ${value}\n#`) }),
    ).toBe('none');
  });
});
