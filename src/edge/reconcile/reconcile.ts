// Brings this node to its desired state, function by function, and keeps what runs until its successor is
// warm.
import type { Clock } from '../../base/clock.ts';
import type { RandomBytes } from '../../base/id.ts';
import { randomFraction } from '../../base/id.ts';
import { EDGE_TUNING } from '../../base/limits/edge.ts';
import { ENGINE_BOUNDS } from '../../base/limits/engine.ts';
import { POOL_DEFAULTS } from '../../base/limits/pool.ts';
import { SYNC_BOUNDS, SYNC_TUNING } from '../../base/limits/sync.ts';
import type { Log } from '../../base/log.ts';
import { backoffMs } from '../../base/retry.ts';
import type { PoolStats } from '../../engine/engine.ts';
import { plan, type Step, versionKey } from '../../model/rules/plan.ts';
import {
  canonicalJson,
  type DesiredFunction,
  type DesiredState,
  type ObservedFunction,
} from '../../model/protocol.ts';
import type { Quota, QuotaLimits } from '../../model/rules/quota.ts';
import { createQuota, isQuotaIdle } from '../../model/rules/quota.ts';
import type { ArtifactCache } from './cache.ts';
import type { EdgeFigures, VersionFigures } from '../figures/figures.ts';
import type { Readiness, Routing } from '../serve/routing.ts';
import type { Steps } from './steps.ts';
import { StepFailure } from './steps.ts';
import {
  actualOf,
  createCandidate,
  createUnit,
  joinWaiting,
  observe,
  pendingVersion,
  readyVersion,
  settleWaiting,
  type Unit,
} from './function_state.ts';

export type ReconcilerOptions = {
  steps: Steps;
  cache: ArtifactCache;
  routing: Routing;
  figures: EdgeFigures;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  quota: QuotaLimits;
  /** Steps wait for it: the engine takes work. */
  engineReady: Promise<void>;
  /** What `observed` says has changed. */
  onChange: () => void;
};

export type Reconciler = {
  /** Level-triggered: the whole truth, as often as one likes. */
  apply(desired: DesiredState): void;
  observed(): ObservedFunction[];
  /** Every function of the first desired state has come up or failed at least once. */
  isSettled(): boolean;
  pools(): Iterable<{ functionId: string; stats: PoolStats }>;
  /** Ends the running steps, then every pool; each within `graceMs`, a step within `engineCloseMs` too. */
  close(options: { graceMs: number }): Promise<void>;
};

const PULL_BACKOFF = { delayMsMin: SYNC_TUNING.pullDelayMsMin, delayMsMax: SYNC_TUNING.pullDelayMsMax };
const RECONCILE_BACKOFF = {
  delayMsMin: EDGE_TUNING.reconcileDelayMsMin,
  delayMsMax: EDGE_TUNING.reconcileDelayMsMax,
};
const NOT_READY_RETRY_MS = 1_000;

export function createReconciler(options: ReconcilerOptions): Reconciler {
  return new StepwiseReconciler(options);
}

class StepwiseReconciler implements Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #units = new Map<string, Unit>();
  readonly #quotas = new Map<string, Quota>();
  readonly #closing = new AbortController();
  readonly #runs = new Set<Promise<void>>();
  #line: Unit[] = [];
  #isApplied = false;
  #isSettled = false;
  #isEngineReady = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    void options.engineReady.then(() => {
      this.#isEngineReady = true;
      this.#pump();
    });
  }

  apply(desired: DesiredState): void {
    const wanted = new Map(desired.functions.map((held) => [held.function_id, held]));
    for (const id of [...wanted.keys(), ...this.#options.cache.storedFunctions()]) {
      if (!this.#units.has(id)) this.#units.set(id, createUnit(id));
    }
    for (const unit of this.#units.values()) {
      const next = wanted.get(unit.functionId) ?? null;
      const isSame = next !== null && unit.wanted !== null && versionKey(next) === versionKey(unit.wanted);
      unit.wanted = next;
      if (isSame) continue;
      unit.failure = null;
      unit.figures = next === null ? null : this.#options.figures.openVersion(unit.functionId);
    }
    this.#forgetQuotas(new Set(desired.functions.map(({ project_id }) => project_id)));
    if (this.#assignSlots()) this.#publish();
    this.#isApplied = true;
    for (const unit of this.#units.values()) this.#enqueue(unit);
    this.#settle();
  }

  observed(): ObservedFunction[] {
    const reports = [...this.#units.values()].flatMap(observe);
    return reports.slice(0, SYNC_BOUNDS.functionsMax);
  }

  isSettled(): boolean {
    return this.#isSettled;
  }

  *pools(): Iterable<{ functionId: string; stats: PoolStats }> {
    for (const { functionId, serving } of this.#units.values()) {
      if (serving !== null) yield { functionId, stats: serving.pool.stats() };
    }
  }

  async close({ graceMs }: { graceMs: number }): Promise<void> {
    const { steps, clock } = this.#options;
    this.#closing.abort();
    this.#line = [];
    for (const unit of this.#units.values()) settleWaiting(unit, notReady(NOT_READY_RETRY_MS));
    // Else a guest whose start function waits would hold up the end of the node.
    for (const unit of this.#units.values()) if (unit.candidate?.pool) void steps.discard(unit);
    const ended = new AbortController();
    const late = clock.sleep(Math.min(graceMs, ENGINE_BOUNDS.closeMs), ended.signal);
    await Promise.race([Promise.all(this.#runs), late]);
    ended.abort();
    for (const unit of this.#units.values()) {
      await steps.discard(unit);
      steps.drain(unit);
      steps.stop(unit, { graceMs });
    }
    await steps.drained();
  }

  #quotaOf(projectId: string): Quota {
    const quota = this.#quotas.get(projectId) ?? createQuota(this.#options.quota);
    this.#quotas.set(projectId, quota);
    return quota;
  }

  #figuresOf(unit: Unit): VersionFigures {
    unit.figures ??= this.#options.figures.openVersion(unit.functionId);
    return unit.figures;
  }

  #forgetQuotas(projects: ReadonlySet<string>): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [id, quota] of this.#quotas) {
      if (!projects.has(id) && isQuotaIdle(quota, nowMs)) this.#quotas.delete(id);
    }
  }

  /** Gives each function that is wanted a place in the route table, and takes it from the others at once. */
  #assignSlots(): boolean {
    let isChanged = false;
    for (const unit of this.#units.values()) {
      const { wanted, serving } = unit;
      if (wanted === null) {
        isChanged ||= unit.routed.length > 0;
        unit.slot = null;
        unit.routed = [];
        settleWaiting(unit, notReady(NOT_READY_RETRY_MS));
      } else if (serving === null) {
        const figures = this.#figuresOf(unit);
        const quota = this.#quotaOf(wanted.project_id);
        const current = pendingVersion(wanted, { quota, figures, whenReady: () => this.#whenReady(unit) });
        if (unit.slot === null) unit.slot = { current };
        else unit.slot.current = current;
        isChanged = true;
        unit.routed = wanted.routes;
      } else if (unit.slot === null) {
        unit.slot = { current: readyVersion(serving, this.#quotaOf(serving.desired.project_id)) };
        unit.routed = serving.desired.routes;
        isChanged = true;
      }
    }
    return isChanged;
  }

  #publish(): void {
    const units = [...this.#units.values()].sort((a, b) => (a.functionId < b.functionId ? -1 : 1));
    const entries = units.flatMap(({ slot, routed }) =>
      slot === null ? [] : routed.map((rule) => ({ rule, target: slot })),
    );
    this.#options.routing.replace(entries);
  }

  async #whenReady(unit: Unit): Promise<Readiness> {
    const { failure, serving, wanted } = unit;
    if (serving !== null)
      return { ready: true, version: readyVersion(serving, this.#quotaOf(serving.desired.project_id)) };
    if (wanted === null || this.#closing.signal.aborted) return notReady(NOT_READY_RETRY_MS);
    if (failure !== null && !unit.busy) return this.#failedReadiness(unit);
    const at = this.#line.indexOf(unit);
    if (at > 0) this.#line.unshift(...this.#line.splice(at, 1));
    return (await joinWaiting(unit, POOL_DEFAULTS.queueLengthMax)) ?? notReady(NOT_READY_RETRY_MS);
  }

  #failedReadiness({ failure }: Unit): Readiness {
    if (failure === null) return notReady(NOT_READY_RETRY_MS);
    const retryAfterMs = Math.max(NOT_READY_RETRY_MS, failure.retryAtMs - this.#options.clock.monotonicMs());
    const code = failure.code === 'artifact_unavailable' ? 'artifact_unavailable' : 'not_ready';
    return { ready: false, code, retryAfterMs };
  }

  #stepsOf(unit: Unit): Step[] {
    const isStored = this.#options.cache.isStored(unit.functionId);
    return plan(unit.wanted, actualOf(unit, { isStored }));
  }

  #enqueue(unit: Unit): void {
    if (unit.busy || this.#closing.signal.aborted) return;
    if (unit.failure !== null && unit.failure.retryAtMs > this.#options.clock.monotonicMs()) return;
    if (this.#stepsOf(unit).length === 0) return this.#forgetUnit(unit);
    unit.busy = true;
    this.#line.push(unit);
    this.#pump();
  }

  #forgetUnit(unit: Unit): void {
    if (unit.wanted !== null || unit.busy) return;
    this.#units.delete(unit.functionId);
    this.#options.figures.forgetFunction(unit.functionId);
  }

  #pump(): void {
    while (this.#isEngineReady && this.#runs.size < EDGE_TUNING.reconcileParallelMax) {
      const unit = this.#line.shift();
      if (unit === undefined) return;
      const run = this.#run(unit).finally(() => {
        this.#runs.delete(run);
        this.#pump();
      });
      this.#runs.add(run);
    }
  }

  /** Plans anew after every step, so that a desired state that moved meanwhile is heeded at once. */
  async #run(unit: Unit): Promise<void> {
    while (!this.#closing.signal.aborted) {
      const [step] = this.#stepsOf(unit);
      if (step === undefined) break;
      const { wanted } = unit;
      try {
        await this.#execute(unit, step);
      } catch (failure) {
        if (await this.#fail(unit, wanted, failure)) break;
      }
    }
    unit.busy = false;
    if (this.#stepsOf(unit).length === 0) {
      unit.failure = null;
      this.#forgetUnit(unit);
    }
    this.#settle();
    this.#options.onChange();
  }

  async #execute(unit: Unit, step: Step): Promise<void> {
    const { steps, cache } = this.#options;
    const { wanted } = unit;
    switch (step) {
      case 'discard':
        return await steps.discard(unit);
      case 'pull':
        if (wanted === null) return;
        unit.candidate ??= createCandidate(wanted, this.#figuresOf(unit));
        return await steps.pull(unit.candidate);
      case 'prepare':
        if (unit.candidate !== null) await steps.prepare(unit.candidate);
        return;
      case 'open':
        if (unit.candidate !== null) await steps.open(unit.candidate);
        return;
      case 'switch':
        return this.#switch(unit);
      case 'drain':
        return steps.drain(unit);
      case 'evict':
        return await cache.evict(unit.functionId);
    }
  }

  /** One assignment changes what the function's routes lead to; the table changes only when the routes do. */
  #switch(unit: Unit): void {
    const { wanted, candidate, serving } = unit;
    const { cache, log, onChange } = this.#options;
    if (candidate !== null && candidate.code !== null && candidate.pool !== null) {
      if (serving !== null) unit.retired.push(serving);
      const { key, desired, code, pool, figures } = candidate;
      unit.serving = { key, desired: wanted ?? desired, code, pool, figures };
      unit.candidate = null;
      cache.pin(unit.functionId, desired.version);
      log.info('switched', {
        function_id: unit.functionId,
        version: desired.version,
        execution: code.execution,
      });
    } else if (serving !== null && wanted !== null) {
      serving.desired = wanted;
    } else if (serving !== null) {
      unit.retired.push(serving);
      unit.serving = null;
      log.info('switched off', { function_id: unit.functionId, version: serving.desired.version });
    }
    const running = unit.serving;
    if (running !== null) {
      const target = readyVersion(running, this.#quotaOf(running.desired.project_id));
      const { routes } = running.desired;
      const isMoved = unit.slot === null || canonicalJson(routes) !== canonicalJson(unit.routed);
      if (unit.slot === null) unit.slot = { current: target };
      else unit.slot.current = target;
      unit.routed = routes;
      if (isMoved) this.#publish();
      settleWaiting(unit, { ready: true, version: target });
    }
    onChange();
  }

  /** True when the unit has to wait; false when what failed is not wanted any more. */
  async #fail(unit: Unit, tried: DesiredFunction | null, thrown: unknown): Promise<boolean> {
    const { steps, clock, random, log } = this.#options;
    await steps.discard(unit);
    if (this.#closing.signal.aborted) return true;
    const key = tried === null ? '' : versionKey(tried);
    if (key !== (unit.wanted === null ? '' : versionKey(unit.wanted))) return false;
    const known = thrown instanceof StepFailure ? thrown : null;
    const code = known?.code ?? 'internal';
    const message = known?.message ?? 'a step failed inside the edge';
    const attempt = unit.failure?.key === key ? unit.failure.attempt + 1 : 1;
    const isPull = code === 'artifact_unavailable';
    const isFinal = known === null || known.isFinal || attempt >= SYNC_BOUNDS.pullAttemptsMax;
    const delayMs = backoffMs(attempt - 1, isPull ? PULL_BACKOFF : RECONCILE_BACKOFF, () =>
      randomFraction(random),
    );
    const failure = { key, code, message, attempt, retryAtMs: clock.monotonicMs() + delayMs, isFinal };
    unit.failure = failure;
    log.error('a function could not be brought to its desired state', {
      function_id: unit.functionId,
      version: unit.wanted?.version ?? null,
      error: code,
      message: known === null ? String(thrown) : message,
      attempt,
      retry_ms: Math.round(delayMs),
    });
    settleWaiting(unit, this.#failedReadiness(unit));
    void clock.sleep(delayMs, this.#closing.signal).then(() => {
      failure.retryAtMs = 0;
      if (unit.failure === failure) this.#enqueue(unit);
    });
    return true;
  }

  #settle(): void {
    if (this.#isSettled || !this.#isApplied) return;
    this.#isSettled = [...this.#units.values()].every((unit) => !unit.busy);
  }
}

function notReady(retryAfterMs: number): Readiness {
  return { ready: false, code: 'not_ready', retryAfterMs };
}
