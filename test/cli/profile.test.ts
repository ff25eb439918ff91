// The connection of the CLI: what is given, what a profile adds, and which files are refused.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Connection,
  profilePath,
  profilePaths,
  resolveConnection,
  writeProfile,
} from '../../src/cli/profile.ts';

let dir: string;
const own = { url: 'http://own:8080', token_file: 'admin-token', edge_url: 'http://own:3000' };
type Given = { url?: string; token?: string; edgeUrl?: string; paths?: readonly string[] };

const resolve = (given: Given = {}): Connection =>
  resolveConnection({
    url: null,
    token: null,
    edgeUrl: null,
    paths: profilePaths({ dataDir: dir, configHome: null }),
    ...given,
  });

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'edge-profile-'));
  await writeProfile(profilePath(dir), own);
  writeFileSync(join(dir, 'admin-token'), 'own-token\n', { mode: 0o600 });
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('A profile', () => {
  test('is private, and gives what is not given otherwise', () => {
    expect(statSync(profilePath(dir)).mode & 0o777).toBe(0o600);
    expect(resolve()).toEqual({ url: 'http://own:8080', token: 'own-token', edgeUrl: 'http://own:3000' });
  });

  test('gives way to what is given', () => {
    expect(resolve({ token: 'mine', edgeUrl: 'http://e' })).toEqual({
      url: 'http://own:8080',
      token: 'mine',
      edgeUrl: 'http://e',
    });
    expect(resolve({ url: 'http://own:8080/' }).token).toBe('own-token');
  });

  test('never gives its token or its edge to another control plane', () => {
    expect(() => resolve({ url: 'http://other:8080' })).toThrow('There is no token for http://other:8080.');
    expect(resolve({ url: 'http://other:8080', token: 'mine' }).edgeUrl).toBeNull();
  });

  test('of the data directory comes before that of the user', async () => {
    const home = join(dir, 'config');
    await writeProfile(join(home, 'edge', 'profile.json'), { ...own, url: 'http://home:8080' });
    writeFileSync(join(home, 'edge', 'admin-token'), 'home-token', { mode: 0o600 });
    const both = profilePaths({ dataDir: dir, configHome: home });
    expect(resolve({ paths: both }).url).toBe('http://own:8080');
    expect(resolve({ paths: profilePaths({ dataDir: join(dir, 'none'), configHome: home }) }).token).toBe(
      'home-token',
    );
  });

  test('that is missing is reported with the paths where it may be', () => {
    expect(() => resolve({ paths: [] })).toThrow('There is no profile');
    const paths = ['/nowhere/cli.json', '/nowhere/profile.json'];
    expect(() => resolve({ paths })).toThrow('no profile at /nowhere/cli.json or /nowhere/profile.json');
  });
});

describe('A profile is refused', () => {
  test.each([
    ['others can write it', () => chmodSync(profilePath(dir), 0o622)],
    ['it is a link', () => (rmSync(profilePath(dir)), symlinkSync('/etc/passwd', profilePath(dir)))],
    ['it is a directory', () => (rmSync(profilePath(dir)), mkdirSync(profilePath(dir)))],
    ['it is not JSON', () => writeFileSync(profilePath(dir), 'url: x')],
    ['it lacks a field', () => writeFileSync(profilePath(dir), '{"url":"http://x"}')],
    [
      'its token lies elsewhere',
      () => writeFileSync(profilePath(dir), JSON.stringify({ ...own, token_file: '../secret' })),
    ],
    [
      'its token is a link',
      () => (rmSync(join(dir, 'admin-token')), symlinkSync('/etc/hostname', join(dir, 'admin-token'))),
    ],
    ['its token is empty', () => writeFileSync(join(dir, 'admin-token'), '\n')],
  ])('when %s', (_, spoil) => {
    spoil();
    expect(() => resolve()).toThrow(expect.objectContaining({ code: 'profile_invalid' }));
  });

  test('unless URL and token are given without it', () => {
    writeFileSync(profilePath(dir), 'no profile');
    const given = { url: 'http://own:8080', token: 'given' };
    expect(resolve(given)).toEqual({ ...given, edgeUrl: null });
  });
});
