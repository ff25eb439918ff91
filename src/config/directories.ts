// The user's directories by the XDG Base Directory Specification; a relative value counts as not set.
import { isAbsolute, join } from 'node:path';
import type { Environment } from './inputs.ts';

/** The directories that may hold this user's caches, in order of preference. */
export function cacheHomes(env: Environment): string[] {
  const { XDG_CACHE_HOME: cache = '', HOME: home = '' } = env;
  return [...(isAbsolute(cache) ? [cache] : []), ...(isAbsolute(home) ? [join(home, '.cache')] : [])];
}

/** The directory of this user's configuration; null where there is none. */
export function configHome(env: Environment): string | null {
  const { XDG_CONFIG_HOME: config = '', HOME: home = '' } = env;
  if (isAbsolute(config)) return config;
  return isAbsolute(home) ? join(home, '.config') : null;
}
