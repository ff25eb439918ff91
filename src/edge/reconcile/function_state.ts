// The state of one function on this node: what is wanted, what serves, what is on its way, what failed last.
import type { Code, Pool } from '../../engine/engine.ts';
import type { DesiredFunction, ObservedFunction } from '../../model/protocol.ts';
import { type ActualFunction, routesKey, type Stage } from '../../model/rules/plan.ts';
import type { VersionFigures } from '../figures/figures.ts';
import type { FunctionFailure } from './failure.ts';

/** Where the versions of a function are counted. */
export type FunctionFigures = {
  openVersion(functionId: string): VersionFigures;
  forgetFunction(functionId: string): void;
};

/** The version that the desired state names; its figures stay with it while it serves. */
export type Wanted = { key: string; desired: DesiredFunction; figures: VersionFigures };

/** A version whose pool is open; `code` is closed after the pool. */
export type Running = {
  key: string;
  desired: DesiredFunction;
  code: Code;
  pool: Pool;
  figures: VersionFigures;
  /** Its artifact is in the cache on disk, so that it comes back after a start without the control plane. */
  isStored: boolean;
};

/** A version that does not serve yet; it owns what its steps have opened so far. */
export type Candidate = {
  key: string;
  desired: DesiredFunction;
  stage: Stage;
  figures: VersionFigures;
  bytes: Uint8Array | null;
  isStored: boolean;
  code: Code | null;
  pool: Pool | null;
};

/**
 * The next try, counted from 1, to compile the version that serves. `isCompiled`: its code is there, in
 * `candidate` until that becomes the candidate of the function.
 */
export type Recompile = {
  readonly attempt: number;
  readonly cancel: AbortController;
  candidate: Candidate | null;
  isCompiled: boolean;
};

export type FunctionState = {
  readonly functionId: string;
  /** Null: not assigned to this node. */
  wanted: Wanted | null;
  serving: Running | null;
  candidate: Candidate | null;
  /** Versions that were replaced, until their pools drain. */
  retired: Running[];
  failure: FunctionFailure | null;
  /** Set while the version that serves waits to be compiled, is compiled, or is about to be replaced by it. */
  recompile: Recompile | null;
  /** Its steps run, or wait in the queue to run. */
  isBusy: boolean;
};

export function createFunctionState(functionId: string): FunctionState {
  return {
    functionId,
    wanted: null,
    serving: null,
    candidate: null,
    retired: [],
    failure: null,
    recompile: null,
    isBusy: false,
  };
}

export function actualOf(state: FunctionState, options: { isStored: boolean }): ActualFunction {
  const { serving, candidate, recompile, retired } = state;
  const isRecompiled = recompile?.isCompiled === true;
  return {
    serving:
      serving === null ? null : { key: serving.key, routesKey: routesKey(serving.desired), isRecompiled },
    candidate: candidate === null ? null : { key: candidate.key, stage: candidate.stage },
    retired: retired.length,
    isStored: options.isStored,
  };
}

/** A candidate for this version, which has taken no step yet. */
export function createCandidate({ key, desired, figures }: Wanted): Candidate {
  return { key, desired, stage: 'chosen', figures, bytes: null, isStored: false, code: null, pool: null };
}

function observedOf(
  desired: DesiredFunction,
  figures: VersionFigures,
  outcome: Pick<ObservedFunction, 'state' | 'error' | 'execution' | 'interpreted'>,
): ObservedFunction {
  const totals = figures.totals();
  return {
    id: desired.function_id,
    version: desired.version,
    state: outcome.state,
    error: outcome.error,
    execution: outcome.execution,
    interpreted: outcome.interpreted ?? null,
    invocation_count: totals.invocations,
    error_count: totals.errors,
    avg_latency_ms: totals.meanMs,
    p99_ms: totals.p99Ms,
  };
}

const ERROR_LENGTH_MAX = 1_000;

const NOT_STORED =
  'It serves, but its artifact is not in the cache on disk, and would be pulled again after a start: ' +
  'is there room in the cache directory, and may the node write to it?';

/** What the heartbeat reports: the wanted version where it does not serve, and the version that serves. */
export function observe({ wanted, serving, failure }: FunctionState): ObservedFunction[] {
  const reports: ObservedFunction[] = [];
  if (wanted !== null && serving?.key !== wanted.key) {
    const final = failure !== null && failure.key === wanted.key && failure.isFinal ? failure : null;
    const error = final === null ? null : `${final.code}: ${final.message}`.slice(0, ERROR_LENGTH_MAX);
    const fault = final?.isOver === true ? 'failed' : 'error';
    const state = final === null ? 'loading' : fault;
    reports.push(observedOf(wanted.desired, wanted.figures, { state, error, execution: null }));
  }
  if (serving !== null && (serving.desired.version !== wanted?.desired.version || reports.length === 0)) {
    const { execution, interpreted } = serving.code;
    const error = serving.isStored ? null : NOT_STORED;
    const outcome = { state: 'cached', error, execution, interpreted } as const;
    reports.push(observedOf(serving.desired, serving.figures, outcome));
  }
  return reports;
}
