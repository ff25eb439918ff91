// What an edge has to do next for each function: the pure difference between desired and actual state.
import type { DesiredFunction } from '../protocol.ts';
import { canonicalJson } from '../protocol.ts';

/** How far a version that does not serve yet has come. */
export type Stage = 'chosen' | 'pulled' | 'prepared' | 'open';

/**
 * What a node has of one function. Keys come from `versionKey` and `routesKey`. `retired` counts pools that
 * were replaced and still have to be drained.
 */
export type ActualFunction = {
  serving: { key: string; routesKey: string } | null;
  candidate: { key: string; stage: Stage } | null;
  retired: number;
  /** Files of this function are in the cache. */
  isStored: boolean;
};

/**
 * `discard` drops the candidate, `pull` brings and verifies the artifact, `prepare` compiles, `open` opens
 * the pool and warms it, `switch` puts the candidate (or new routes, or no routes) into the route table at
 * once, `drain` ends the retired pools, `evict` removes the artifacts.
 */
export type Step = 'discard' | 'pull' | 'prepare' | 'open' | 'switch' | 'drain' | 'evict';

/** One text per thing that a pool runs: another key means another pool. */
export function versionKey(desired: DesiredFunction): string {
  return `${desired.version}:${desired.sha256}:${canonicalJson(desired.settings)}`;
}

export function routesKey(desired: DesiredFunction): string {
  return canonicalJson(desired.routes);
}

const ADVANCE: Record<Stage, readonly Step[]> = {
  chosen: ['pull', 'prepare', 'open', 'switch'],
  pulled: ['prepare', 'open', 'switch'],
  prepared: ['open', 'switch'],
  open: ['switch'],
};

/**
 * The steps, in order, from `actual` to `desired`; none when they agree. Make before break: what serves is
 * drained only after its successor is switched in. What a failure leaves is again a valid `actual`.
 */
export function planFunction(desired: DesiredFunction | null, actual: ActualFunction): Step[] {
  const { serving, candidate, retired, isStored } = actual;
  if (desired === null) {
    const steps: Step[] = candidate === null ? [] : ['discard'];
    if (serving !== null) steps.push('switch');
    if (serving !== null || retired > 0) steps.push('drain');
    if (isStored) steps.push('evict');
    return steps;
  }
  const key = versionKey(desired);
  const steps: Step[] = [];
  if (candidate !== null && (candidate.key !== key || serving?.key === key)) steps.push('discard');
  if (serving?.key === key) {
    if (serving.routesKey !== routesKey(desired)) steps.push('switch');
    if (retired > 0) steps.push('drain');
    return steps;
  }
  steps.push(...ADVANCE[candidate?.key === key ? candidate.stage : 'chosen']);
  if (serving !== null || retired > 0) steps.push('drain');
  return steps;
}

/** The steps of every function that has any; `actual` holds every function that the node knows of. */
export function plan(
  desired: ReadonlyMap<string, DesiredFunction>,
  actual: ReadonlyMap<string, ActualFunction>,
): Map<string, Step[]> {
  const plans = new Map<string, Step[]>();
  const nothing: ActualFunction = { serving: null, candidate: null, retired: 0, isStored: false };
  for (const id of new Set([...desired.keys(), ...actual.keys()])) {
    const steps = planFunction(desired.get(id) ?? null, actual.get(id) ?? nothing);
    if (steps.length > 0) plans.set(id, steps);
  }
  return plans;
}
