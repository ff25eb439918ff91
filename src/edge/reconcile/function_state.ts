// One function on this node: what runs, what is on its way, what failed last, and who waits for it.
import type { Code, Pool } from '../../engine/engine.ts';
import type { ActualFunction, Stage } from '../../model/rules/plan.ts';
import { routesKey, versionKey } from '../../model/rules/plan.ts';
import type { DesiredFunction, ObservedFunction } from '../../model/protocol.ts';
import type { Quota } from '../../model/rules/quota.ts';
import type { RouteRule } from '../../model/route.ts';
import type { VersionFigures } from '../figures/figures.ts';
import type { PendingVersion, Readiness, ReadyVersion, RoutedFunction } from '../serve/routing.ts';

/** A version whose pool is open; `code` is closed after the pool. */
export type Running = {
  key: string;
  desired: DesiredFunction;
  code: Code;
  pool: Pool;
  figures: VersionFigures;
};

/** A version that does not serve yet; it owns what its stage has brought. */
export type Candidate = {
  key: string;
  desired: DesiredFunction;
  stage: Stage;
  figures: VersionFigures;
  bytes: Uint8Array | null;
  code: Code | null;
  pool: Pool | null;
};

/**
 * The last failure of what is wanted; `attempt` counts from 1. `isFinal`: worth a report, no longer
 * `loading`.
 */
export type UnitFailure = {
  key: string;
  code: string;
  message: string;
  attempt: number;
  retryAtMs: number;
  isFinal: boolean;
};

type Waiting = { promise: Promise<Readiness>; resolve: (readiness: Readiness) => void; count: number };

export type Unit = {
  readonly functionId: string;
  wanted: DesiredFunction | null;
  /** Of the version that is wanted; its candidate and what serves after it go on with them. */
  figures: VersionFigures | null;
  serving: Running | null;
  candidate: Candidate | null;
  retired: Running[];
  failure: UnitFailure | null;
  /** A run of steps is under way, or in the line for one. */
  busy: boolean;
  waiting: Waiting | null;
  /** What the route table points at; null while the function has no routes here. */
  slot: RoutedFunction | null;
  /** The routes that the table has for this function. */
  routed: readonly RouteRule[];
};

export function createUnit(functionId: string): Unit {
  return {
    functionId,
    wanted: null,
    figures: null,
    serving: null,
    candidate: null,
    retired: [],
    failure: null,
    busy: false,
    waiting: null,
    slot: null,
    routed: [],
  };
}

export function actualOf(unit: Unit, options: { isStored: boolean }): ActualFunction {
  const { serving, candidate, retired } = unit;
  return {
    serving: serving === null ? null : { key: serving.key, routesKey: routesKey(serving.desired) },
    candidate: candidate === null ? null : { key: candidate.key, stage: candidate.stage },
    retired: retired.length,
    isStored: options.isStored,
  };
}

export function createCandidate(desired: DesiredFunction, figures: VersionFigures): Candidate {
  const key = versionKey(desired);
  return { key, desired, stage: 'chosen', figures, bytes: null, code: null, pool: null };
}

export function readyVersion(running: Running, quota: Quota): ReadyVersion {
  const { desired, figures, pool } = running;
  const { function_id: functionId, version } = desired;
  return { functionId, version, maxExecutionMs: desired.settings.max_execution_ms, quota, figures, pool };
}

export function pendingVersion(
  desired: DesiredFunction,
  options: { quota: Quota; figures: VersionFigures; whenReady: () => Promise<Readiness> },
): PendingVersion {
  const { function_id: functionId, version } = desired;
  return { functionId, version, maxExecutionMs: desired.settings.max_execution_ms, pool: null, ...options };
}

/** Joins those who wait for the next success or failure of `unit`; null when `waitersMax` wait already. */
export function joinWaiting(unit: Unit, waitersMax: number): Promise<Readiness> | null {
  if (unit.waiting === null) {
    const { promise, resolve } = Promise.withResolvers<Readiness>();
    unit.waiting = { promise, resolve, count: 0 };
  }
  if (unit.waiting.count >= waitersMax) return null;
  unit.waiting.count += 1;
  return unit.waiting.promise;
}

export function settleWaiting(unit: Unit, readiness: Readiness): void {
  unit.waiting?.resolve(readiness);
  unit.waiting = null;
}

function observed(
  desired: DesiredFunction,
  figures: VersionFigures | null,
  state: Pick<ObservedFunction, 'state' | 'error' | 'execution'>,
): ObservedFunction {
  const totals = figures?.totals();
  return {
    id: desired.function_id,
    version: desired.version,
    ...state,
    invocation_count: totals?.invocations ?? 0,
    error_count: totals?.errors ?? 0,
    avg_latency_ms: totals?.meanMs ?? 0,
    p99_ms: totals?.p99Ms ?? 0,
  };
}

const ERROR_LENGTH_MAX = 1_000;

/**
 * What the heartbeat says of a function: the version that serves, and the wanted one when that is another.
 */
export function observe(unit: Unit): ObservedFunction[] {
  const { wanted, serving, figures, failure } = unit;
  const reports: ObservedFunction[] = [];
  const wantedKey = wanted === null ? null : versionKey(wanted);
  if (wanted !== null && serving?.key !== wantedKey) {
    const failed = failure !== null && failure.key === wantedKey && failure.isFinal ? failure : null;
    const error = failed === null ? null : `${failed.code}: ${failed.message}`.slice(0, ERROR_LENGTH_MAX);
    const state = failed === null ? 'loading' : 'error';
    reports.push(observed(wanted, figures, { state, error, execution: null }));
  }
  if (serving !== null && (serving.desired.version !== wanted?.version || reports.length === 0)) {
    const { execution } = serving.code;
    reports.push(observed(serving.desired, serving.figures, { state: 'cached', error: null, execution }));
  }
  return reports;
}
