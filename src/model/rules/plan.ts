// What a node has to do next for one function: the pure difference between desired and actual state.
import type { DesiredFunction } from '../protocol.ts';
import { canonicalJson } from '../protocol.ts';

/** How far a version has come that does not serve yet; `chosen` is before its first step. */
export type Stage = 'chosen' | 'pulled' | 'prepared' | 'open';

/** What a node has of one function. The keys come from `versionKey` and `routesKey`. */
export type ActualFunction = {
  /** `isRecompiled`: it runs in the interpreter, and a candidate of the same version has compiled code. */
  serving: { key: string; routesKey: string; isRecompiled: boolean } | null;
  candidate: { key: string; stage: Stage } | null;
  /** Pools that were replaced and still have to be drained. */
  retired: number;
  /** Artifacts of this function are in the cache. */
  isStored: boolean;
};

/**
 * `discard` frees the candidate, `pull` fetches and verifies its artifact, `prepare` compiles it, `open`
 * opens its pool and warms it, `switch` leads the routes to it (or to nothing, or only changes the routes),
 * `drain` ends the retired pools, `evict` removes the artifacts from the cache.
 */
export type Step = 'discard' | 'pull' | 'prepare' | 'open' | 'switch' | 'drain' | 'evict';

/** Two desired functions with the same key can share one pool. */
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
 * The steps, in order, that take one function from `actual` to `desired` (null: not assigned to this node);
 * none where they agree. Make before break: a version is drained only after its successor is switched in.
 * Whatever a failed step leaves behind is again a valid `actual`.
 */
export function plan(desired: DesiredFunction | null, actual: ActualFunction): Step[] {
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
  const isServing = serving?.key === key && !serving.isRecompiled;
  if (candidate !== null && (candidate.key !== key || isServing)) steps.push('discard');
  if (serving?.key === key && serving.routesKey !== routesKey(desired)) steps.push('switch');
  if (isServing) {
    if (retired > 0) steps.push('drain');
    return steps;
  }
  steps.push(...ADVANCE[candidate?.key === key ? candidate.stage : 'chosen']);
  if (serving !== null || retired > 0) steps.push('drain');
  return steps;
}
