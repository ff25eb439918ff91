// How the CLI finds its control plane: from flags and variables, or from the profile of a first start.
import { lstatSync, readFileSync, type Stats } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { writeDurably } from '../base/durable.ts';
import { ADMIN_TOKEN, CliFailure } from './failure.ts';

const PROFILE_BYTES_MAX = 64 * 1024;
const TOKEN_BYTES_MAX = 4_096;

const ProfileUrl = Type.String({ pattern: '^https?://[^\\s]+$', maxLength: 2_048 });

const Profile = Type.Object({
  /** Of the control plane. */
  url: ProfileUrl,
  /** The name of a file beside the profile. */
  token_file: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$' }),
  /** Where functions answer; null where it is not known. */
  edge_url: Type.Union([ProfileUrl, Type.Null()]),
});
export type Profile = Static<typeof Profile>;

/** A control plane, the token for its API, and where its functions answer (null where it is not known). */
export type Connection = { url: string; token: string; edgeUrl: string | null };

/** The profile of a data directory. */
export function profilePath(dataDir: string): string {
  return join(dataDir, 'cli.json');
}

/** Where a profile may be, in order of preference. */
export function profilePaths(options: { dataDir: string; configHome: string | null }): string[] {
  const { dataDir, configHome } = options;
  return [profilePath(dataDir), ...(configHome === null ? [] : [join(configHome, 'edge', 'profile.json')])];
}

/** Writes a profile that only this user can read. One process at a time writes to a directory. */
export async function writeProfile(path: string, profile: Profile): Promise<void> {
  await writeDurably(path, `${JSON.stringify(profile, null, 2)}\n`, { mode: 0o600, tag: 'profile' });
}

/**
 * What is given wins over the profile. The token of a profile goes only to the control plane of that profile:
 * with another URL a token must be given too. Throws a CliFailure when URL or token is missing.
 */
export function resolveConnection(options: {
  url: string | null;
  token: string | null;
  edgeUrl: string | null;
  paths: readonly string[];
}): Connection {
  const { paths } = options;
  const needsProfile = options.url === null || options.token === null;
  const found = needsProfile ? findProfile(paths) : findUsableProfile(paths);
  const url = options.url ?? found?.profile.url ?? null;
  if (url === null) {
    const where = paths.length === 0 ? '' : ` at ${paths.join(' or ')}`;
    throw new CliFailure('profile_missing', `There is no profile${where}, and no URL of a control plane.`);
  }
  const isOfProfile = found !== null && withoutSlash(found.profile.url) === withoutSlash(url);
  const token = options.token ?? (isOfProfile ? readToken(found.path, found.profile) : null);
  if (token === null) {
    throw new CliFailure('profile_missing', `There is no token for ${url}.`, {
      hint: `Set EDGE_TOKEN to a token for it; ${ADMIN_TOKEN}.`,
    });
  }
  const edgeUrl = options.edgeUrl ?? (isOfProfile ? found.profile.edge_url : null);
  return { url: withoutSlash(url), token, edgeUrl };
}

type FoundProfile = { path: string; profile: Profile };

/** For a caller that can do without a profile: null where there is none that can be used. */
function findUsableProfile(paths: readonly string[]): FoundProfile | null {
  try {
    return findProfile(paths);
  } catch (failure) {
    if (failure instanceof CliFailure) return null;
    throw failure;
  }
}

/** The first profile that exists, or null; throws where that one cannot be used. */
function findProfile(paths: readonly string[]): FoundProfile | null {
  for (const path of paths) {
    const text = readOwnFile(path, PROFILE_BYTES_MAX);
    if (text === null) continue;
    const profile = parseJson(text);
    if (!Value.Check(Profile, profile))
      throw new CliFailure('profile_invalid', `${path} is not a profile of this program.`);
    return { path, profile };
  }
  return null;
}

function readToken(path: string, profile: Profile): string {
  const file = join(dirname(path), basename(profile.token_file));
  const token = readOwnFile(file, TOKEN_BYTES_MAX)?.trim() ?? '';
  if (!/^[\u0021-\u007e]+$/.test(token)) throw new CliFailure('profile_invalid', `${file} holds no token.`);
  return token;
}

/** The text of a regular file of this user or root that nobody else can write; null when there is none. */
function readOwnFile(path: string, bytesMax: number): string | null {
  const entry = entryAt(path);
  if (entry === undefined) return null;
  const isOwn =
    entry.isFile() && (entry.uid === process.geteuid?.() || entry.uid === 0) && (entry.mode & 0o022) === 0;
  if (!isOwn || entry.size > bytesMax) {
    const rule = `a regular file of at most ${bytesMax} bytes that only this user can write`;
    throw new CliFailure('profile_invalid', `${path} must be ${rule}.`);
  }
  try {
    return readFileSync(path, 'utf8');
  } catch (failure) {
    const reason = failure instanceof Error ? failure.message : '';
    throw new CliFailure('profile_invalid', `${path} cannot be read: ${reason}`);
  }
}

function entryAt(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch {
    throw new CliFailure('profile_invalid', `${path} cannot be read by this user.`);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
