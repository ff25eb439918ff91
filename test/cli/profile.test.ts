// Whom the CLI talks to: what is given, what a profile says, and which files it will not believe.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { profilePath, profilePaths, resolveTarget, writeProfile } from '../../src/cli/profile.ts';

let dir: string;
const own = { url: 'http://own:8080', token_file: 'admin-token', edge_url: 'http://own:3000' };
const resolve = (
  given: Partial<Parameters<typeof resolveTarget>[0]> = {},
): ReturnType<typeof resolveTarget> =>
  resolveTarget({
    url: null,
    token: null,
    edgeUrl: null,
    paths: profilePaths({ dataDir: dir, configHome: null }),
    ...given,
  });

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'edge-profile-'));
  writeProfile(profilePath(dir), own);
  writeFileSync(join(dir, 'admin-token'), 'own-token\n', { mode: 0o600 });
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('A profile', () => {
  test('is private, and answers for everything that was not given', () => {
    expect(statSync(profilePath(dir)).mode & 0o777).toBe(0o600);
    expect(resolve()).toEqual({ url: 'http://own:8080', token: 'own-token', edgeUrl: 'http://own:3000' });
  });

  test('gives way to what was given', () => {
    expect(resolve({ token: 'mine', edgeUrl: 'http://e' })).toEqual({
      url: 'http://own:8080',
      token: 'mine',
      edgeUrl: 'http://e',
    });
    expect(resolve({ url: 'http://own:8080/' }).token).toBe('own-token');
  });

  test('never lends its token or its edge to another control plane', () => {
    expect(() => resolve({ url: 'http://other:8080' })).toThrow('There is no token for http://other:8080.');
    expect(resolve({ url: 'http://other:8080', token: 'mine' }).edgeUrl).toBeNull();
  });

  test('of the data directory comes before that of the user', () => {
    const home = join(dir, 'config');
    writeProfile(join(home, 'edge', 'profile.json'), { ...own, url: 'http://home:8080' });
    writeFileSync(join(home, 'edge', 'admin-token'), 'home-token', { mode: 0o600 });
    const both = profilePaths({ dataDir: dir, configHome: home });
    expect(resolve({ paths: both }).url).toBe('http://own:8080');
    expect(resolve({ paths: profilePaths({ dataDir: join(dir, 'none'), configHome: home }) }).token).toBe(
      'home-token',
    );
  });

  test('that is nowhere is said so', () => {
    expect(() => resolve({ paths: [] })).toThrow('There is no profile');
  });
});

describe('A profile that is not believed', () => {
  test.each([
    ['others can write it', () => chmodSync(profilePath(dir), 0o622)],
    ['it is a link', () => (rmSync(profilePath(dir)), symlinkSync('/etc/passwd', profilePath(dir)))],
    ['it is a directory', () => (rmSync(profilePath(dir)), mkdirSync(profilePath(dir)))],
    ['it is no JSON', () => writeFileSync(profilePath(dir), 'url: x')],
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
  ])('because %s', (_, spoil) => {
    spoil();
    expect(() => resolve()).toThrow(expect.objectContaining({ code: 'profile_invalid' }));
  });

  test('does not hinder who gives the URL and the token', () => {
    writeFileSync(profilePath(dir), 'no profile');
    const given = { url: 'http://own:8080', token: 'given' };
    expect(resolve(given)).toEqual({ ...given, edgeUrl: null });
  });
});
