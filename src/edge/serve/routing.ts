// The routes of this node at one moment, and the target that a request's URL and method lead to.
import { LRUCache } from 'lru-cache';
import { REQUEST_TUNING } from '../../base/limits/request.ts';
import type { Pool } from '../../engine/engine.ts';
import type { RouteEntry, RouteMatch } from '../../model/http/match.ts';
import { compileRoutes, matchRoute } from '../../model/http/match.ts';
import type { Quota } from '../../model/rules/quota.ts';
import type { VersionFigures } from '../figures/figures.ts';

/** What became of a version that a request waited for. */
export type Readiness =
  | { ready: true; target: ReadyTarget }
  | { ready: false; code: 'not_ready' | 'artifact_unavailable'; retryAfterMs: number };

type TargetFacts = {
  functionId: string;
  version: string;
  maxExecutionMs: number;
  quota: Quota;
  figures: VersionFigures;
};

/** A version that answers requests. */
export type ReadyTarget = TargetFacts & { pool: Pool };

/**
 * A version that is assigned to this node and not there yet; `whenReady` settles with its next success or
 * failure.
 */
export type PendingTarget = TargetFacts & { pool: null; whenReady: () => Promise<Readiness> };

export type Target = ReadyTarget | PendingTarget;

/** What a route points at; a new version takes the place of the one before by a single assignment. */
export type Slot = { current: Target };

/** `unreadable`: host and path make no URL, so that the path is not in its plain form. */
export type AddressMatch = RouteMatch<Slot> | { kind: 'unreadable' };

export type Routing = {
  /** `url` is as the server gives it, without query and fragment. */
  match(url: string, method: string): AddressMatch;
  /** Puts other routes in place, all at once. */
  replace(entries: readonly RouteEntry<Slot>[]): void;
  routeCount(): number;
};

const UNREADABLE = { kind: 'unreadable' } as const;

/** Where the path begins in an absolute URL; 0 when the URL is only a path. */
export function pathStart(url: string): number {
  return url.startsWith('http') ? Math.max(url.indexOf('/', 8), 0) : 0;
}

/**
 * Lower case, without port and without the dot of a fully qualified name; empty when the URL is only a
 * path.
 */
function hostOf(url: string, start: number): string {
  if (start === 0) return '';
  const authority = url.slice(url.indexOf('//') + 2, start);
  const colon = authority.lastIndexOf(':');
  const host = colon > authority.lastIndexOf(']') ? authority.slice(0, colon) : authority;
  return host.endsWith('.') ? host.slice(0, -1) : host;
}

export function createRouting(): Routing {
  const open = (entries: readonly RouteEntry<Slot>[]) => ({
    table: compileRoutes(entries),
    seen: new LRUCache<string, AddressMatch>({ max: REQUEST_TUNING.routeCacheEntriesMax }),
  });
  let current = open([]);
  return {
    match(url, method) {
      const { table, seen } = current;
      const key = method === 'GET' ? url : `${method} ${url}`;
      const known = seen.get(key);
      if (known !== undefined) return known;
      const start = pathStart(url);
      const found =
        start > 0 && !URL.canParse(url)
          ? UNREADABLE
          : matchRoute(table, { host: hostOf(url, start), path: url.slice(start), method });
      if (key.length <= REQUEST_TUNING.routeCacheKeyLengthMax) seen.set(key, found);
      return found;
    },
    replace(entries) {
      current = open(entries);
    },
    routeCount: () => current.table.routeCount,
  };
}
