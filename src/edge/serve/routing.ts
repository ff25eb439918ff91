// The route table of this node: which function a URL and a method lead to, and its version of the moment.
import { LRUCache } from 'lru-cache';
import { REQUEST_TUNING } from '../../base/limits/request.ts';
import type { Pool } from '../../engine/engine.ts';
import {
  compileRoutes,
  matchRoute,
  type RouteEntry,
  type RouteMatch,
  type RouteTable,
} from '../../model/http/match.ts';
import type { Quota } from '../../model/rules/quota.ts';
import type { VersionFigures } from '../figures/figures.ts';

/** What a request gets that waited for a version. */
export type Readiness =
  | { ready: true; version: ReadyVersion }
  | { ready: false; code: 'not_ready' | 'artifact_unavailable'; retryAfterMs: number };

type VersionFacts = {
  functionId: string;
  version: string;
  maxExecutionMs: number;
  quota: Quota;
  figures: VersionFigures;
};

/** A version that answers requests. */
export type ReadyVersion = VersionFacts & { pool: Pool };

/** A version that does not answer yet; `whenReady` settles with its next success or failure. */
export type PendingVersion = VersionFacts & { pool: null; whenReady: () => Promise<Readiness> };

/** The version that is assigned to this node. */
export type AssignedVersion = ReadyVersion | PendingVersion;

/** What a route leads to. One assignment to `current` moves all routes of the function to another version. */
export type RoutedFunction = { current: AssignedVersion };

/** `unreadable`: host and path do not make a URL, so the path is not in its normal form. */
export type RoutingMatch = RouteMatch<RoutedFunction> | { kind: 'unreadable' };

export type Routing = {
  /** `url` is as the server gives it, without query and fragment. */
  match(url: string, method: string): RoutingMatch;
  /** Replaces all routes at once. */
  replace(entries: readonly RouteEntry<RoutedFunction>[]): void;
};

const UNREADABLE = { kind: 'unreadable' } as const;

/** Where the path begins in an absolute URL; 0 when the URL is only a path. */
export function pathStart(url: string): number {
  return url.startsWith('http') ? Math.max(url.indexOf('/', 8), 0) : 0;
}

/** Lower case, without port and final dot; empty when `url` is only a path. */
function hostOf(url: string, start: number): string {
  if (start === 0) return '';
  const authority = url.slice(url.indexOf('//') + 2, start);
  const colon = authority.lastIndexOf(':');
  const host = colon > authority.lastIndexOf(']') ? authority.slice(0, colon) : authority;
  return host.endsWith('.') ? host.slice(0, -1) : host;
}

function search(table: RouteTable<RoutedFunction>, url: string, method: string): RoutingMatch {
  const start = pathStart(url);
  if (start > 0 && !URL.canParse(url)) return UNREADABLE;
  return matchRoute(table, { host: hostOf(url, start), path: url.slice(start), method });
}

/** Remembers the matches of short URLs until the routes are replaced. */
export function createRouting(): Routing {
  const { routeCacheEntriesMax, routeCacheKeyLengthMax } = REQUEST_TUNING;
  let table = compileRoutes<RoutedFunction>([]);
  let matches = new LRUCache<string, RoutingMatch>({ max: routeCacheEntriesMax });
  return {
    match(url, method) {
      const key = method === 'GET' ? url : `${method} ${url}`;
      const known = matches.get(key);
      if (known !== undefined) return known;
      const match = search(table, url, method);
      if (key.length <= routeCacheKeyLengthMax) matches.set(key, match);
      return match;
    },
    replace(entries) {
      table = compileRoutes(entries);
      matches = new LRUCache({ max: routeCacheEntriesMax });
    },
  };
}
