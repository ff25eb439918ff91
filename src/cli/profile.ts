// The CLI's profile: where the control plane is and which file holds the token, as a first start leaves it
// behind.
import { lstatSync, type Stats, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { CliFailure } from './failure.ts';

const PROFILE_BYTES_MAX = 64 * 1024;
const TOKEN_BYTES_MAX = 4_096;

/**
 * `token_file` is a name beside the profile; `edge_url` is where functions answer, null where it is not
 * known.
 */
const Profile = Type.Object({
  url: Type.String({ pattern: '^https?://[^\\s]+$', maxLength: 2_048 }),
  token_file: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$' }),
  edge_url: Type.Union([Type.String({ pattern: '^https?://[^\\s]+$', maxLength: 2_048 }), Type.Null()]),
});
export type Profile = Static<typeof Profile>;

/** Whom to talk to, and with what. */
export type Target = { url: string; token: string; edgeUrl: string | null };

/** The profile of a data directory. */
export function profilePath(dataDir: string): string {
  return join(dataDir, 'cli.json');
}

/** Where a profile is looked for, first to last. */
export function profilePaths(options: { dataDir: string; configHome: string | null }): string[] {
  const { dataDir, configHome } = options;
  return [profilePath(dataDir), ...(configHome === null ? [] : [join(configHome, 'edge', 'profile.json')])];
}

/** Writes it for this user alone (0600), in one rename. */
export function writeProfile(path: string, profile: Profile): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(profile, null, 2)}\n`, { mode: 0o600 });
  renameSync(temporary, path);
}

/**
 * What was given wins over the profile. The token of a profile goes to the control plane of that profile
 * only: with
 * another URL a token must be given too. Throws a CliFailure when either is missing.
 */
export function resolveTarget(options: {
  url: string | null;
  token: string | null;
  edgeUrl: string | null;
  paths: readonly string[];
}): Target {
  const isGiven = options.url !== null && options.token !== null;
  const found = isGiven ? findUsable(options.paths) : findProfile(options.paths);
  const url = options.url ?? found?.profile.url ?? null;
  if (url === null)
    throw new CliFailure('profile_missing', 'There is no profile that says where the control plane is.');
  const isOwn = found !== null && trimmed(found.profile.url) === trimmed(url);
  const token = options.token ?? (isOwn ? readToken(found.path, found.profile) : null);
  if (token === null) throw new CliFailure('profile_missing', `There is no token for ${url}.`);
  return { url: trimmed(url), token, edgeUrl: options.edgeUrl ?? (isOwn ? found.profile.edge_url : null) };
}

/** For one who needs no profile, an unusable one is none. */
function findUsable(paths: readonly string[]): { path: string; profile: Profile } | null {
  try {
    return findProfile(paths);
  } catch (failure) {
    if (failure instanceof CliFailure) return null;
    throw failure;
  }
}

function findProfile(paths: readonly string[]): { path: string; profile: Profile } | null {
  for (const path of paths) {
    const text = readOwn(path, PROFILE_BYTES_MAX);
    if (text === null) continue;
    const profile = parsed(text);
    if (!Value.Check(Profile, profile))
      throw new CliFailure('profile_invalid', `${path} is not a profile of this program.`);
    return { path, profile };
  }
  return null;
}

function readToken(path: string, profile: Profile): string {
  const file = join(dirname(path), basename(profile.token_file));
  const token = readOwn(file, TOKEN_BYTES_MAX)?.trim() ?? '';
  if (!/^[\u0021-\u007e]+$/.test(token)) throw new CliFailure('profile_invalid', `${file} holds no token.`);
  return token;
}

/** The text of a plain file of this user that nobody else can write; null when there is none. */
function readOwn(path: string, bytesMax: number): string | null {
  const entry = entryAt(path);
  if (entry === undefined) return null;
  const isOwn =
    entry.isFile() && (entry.uid === process.geteuid?.() || entry.uid === 0) && (entry.mode & 0o022) === 0;
  if (!isOwn || entry.size > bytesMax) {
    throw new CliFailure('profile_invalid', `${path} must be a plain file that only this user can write.`);
  }
  try {
    return readFileSync(path, 'utf8');
  } catch (failure) {
    throw new CliFailure(
      'profile_invalid',
      `${path} cannot be read: ${failure instanceof Error ? failure.message : ''}`,
    );
  }
}

function entryAt(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch {
    throw new CliFailure('profile_invalid', `${path} may not be read by this user.`);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function trimmed(url: string): string {
  return url.replace(/\/+$/, '');
}
