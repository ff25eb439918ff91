// What the routes of each function lead to, and the requests that wait for its version.
import { canonicalJson } from '../../model/protocol.ts';
import type { RouteRule } from '../../model/route.ts';
import type { Quota } from '../../model/rules/quota.ts';
import {
  type AssignedVersion,
  createRouting,
  type PendingVersion,
  type Readiness,
  type ReadyVersion,
  type RoutedFunction,
  type Routing,
} from '../serve/routing.ts';
import type { Running, Wanted } from './function_state.ts';

export type FunctionRoutes = {
  /** The table in which `publish` puts the routes. */
  readonly routing: Routing;
  has(functionId: string): boolean;
  /** Leads the routes of a function to `version` at once; changed `rules` take effect with `publish`. */
  lead(functionId: string, version: AssignedVersion, rules: readonly RouteRule[]): void;
  /** The routes of a function lead nowhere after the next `publish`. */
  remove(functionId: string): void;
  /** Puts all routes into the table, if any have changed. */
  publish(): void;
  /** Resolves with the next `settle`; null when `waitersMax` requests wait for this function already. */
  wait(functionId: string): Promise<Readiness> | null;
  /** Resolves every `wait` for a function. */
  settle(functionId: string, readiness: Readiness): void;
};

export function readyVersion({ desired, figures, pool }: Running, quota: Quota): ReadyVersion {
  const { function_id: functionId, version, settings } = desired;
  return { functionId, version, maxExecutionMs: settings.max_execution_ms, quota, figures, pool };
}

export function pendingVersion(
  { desired, figures }: Wanted,
  options: { quota: Quota; whenReady: () => Promise<Readiness> },
): PendingVersion {
  const { function_id: functionId, version, settings } = desired;
  const { quota, whenReady } = options;
  const maxExecutionMs = settings.max_execution_ms;
  return { functionId, version, maxExecutionMs, quota, figures, pool: null, whenReady };
}

type Entry = { routed: RoutedFunction; rules: readonly RouteRule[] };
type Waiting = { promise: Promise<Readiness>; resolve: (readiness: Readiness) => void; count: number };

function createWaiting(): Waiting {
  const { promise, resolve } = Promise.withResolvers<Readiness>();
  return { promise, resolve, count: 0 };
}

const areSame = (a: readonly RouteRule[], b: readonly RouteRule[]): boolean =>
  a === b || canonicalJson(a) === canonicalJson(b);

export function createFunctionRoutes({ waitersMax }: { waitersMax: number }): FunctionRoutes {
  const routing = createRouting();
  const entries = new Map<string, Entry>();
  const waiting = new Map<string, Waiting>();
  let isPublished = true;
  return {
    routing,
    has: (functionId) => entries.has(functionId),
    lead(functionId, version, rules) {
      const entry = entries.get(functionId);
      if (entry === undefined) {
        entries.set(functionId, { routed: { current: version }, rules });
        isPublished = false;
        return;
      }
      entry.routed.current = version;
      if (areSame(entry.rules, rules)) return;
      entry.rules = rules;
      isPublished = false;
    },
    remove(functionId) {
      if (entries.delete(functionId)) isPublished = false;
    },
    publish() {
      if (isPublished) return;
      isPublished = true;
      const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
      routing.replace(
        sorted.flatMap(([, { routed, rules }]) => rules.map((rule) => ({ rule, target: routed }))),
      );
    },
    wait(functionId) {
      const shared = waiting.get(functionId) ?? createWaiting();
      waiting.set(functionId, shared);
      if (shared.count >= waitersMax) return null;
      shared.count += 1;
      return shared.promise;
    },
    settle(functionId, readiness) {
      waiting.get(functionId)?.resolve(readiness);
      waiting.delete(functionId);
    },
  };
}
