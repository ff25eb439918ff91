// Brings this node to its desired state, function by function; a version serves until its successor is warm.
import type { Clock } from '../../base/clock.ts';
import { within } from '../../base/deadline.ts';
import { type RandomBytes, randomFraction } from '../../base/id.ts';
import { EDGE_TUNING } from '../../base/limits/edge.ts';
import { ENGINE_BOUNDS } from '../../base/limits/engine.ts';
import { POOL_DEFAULTS } from '../../base/limits/pool.ts';
import { SYNC_BOUNDS } from '../../base/limits/sync.ts';
import type { Log } from '../../base/log.ts';
import type { Loop } from '../../base/loop.ts';
import type { PoolStats } from '../../engine/engine.ts';
import type { DesiredFunction, DesiredState, ObservedFunction } from '../../model/protocol.ts';
import { plan, routesKey, type Step, versionKey } from '../../model/rules/plan.ts';
import type { QuotaLimits } from '../../model/rules/quota.ts';
import type { Readiness, Routing } from '../serve/routing.ts';
import type { ArtifactCache } from './cache/cache.ts';
import { failureOf, type FunctionFailure } from './failure.ts';
import {
  actualOf,
  createFunctionState,
  type FunctionFigures,
  type FunctionState,
  observe,
  type Running,
  type Wanted,
} from './function_state.ts';
import type { Puller } from './pull.ts';
import { createProjectQuotas, type ProjectQuotas } from './quotas.ts';
import { createRecompiles, type Recompiles } from './recompile.ts';
import { createFunctionRoutes, type FunctionRoutes, pendingVersion, readyVersion } from './routes.ts';
import { createRunQueue, type RunQueue } from './run_queue.ts';
import type { Steps } from './steps.ts';
import { startStoring } from './store_again.ts';

/** The reconciler owns the cache and closes it. */
export type ReconcilerParts = {
  steps: Steps;
  cache: ArtifactCache;
  puller: Puller;
  figures: FunctionFigures;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  quota: QuotaLimits;
  /** What `observed` returns has changed. */
  onChange: () => void;
};

const NOT_READY_RETRY_MS = 1_000;
const NOT_READY: Readiness = { ready: false, code: 'not_ready', retryAfterMs: NOT_READY_RETRY_MS };

export class Reconciler {
  readonly #parts: ReconcilerParts;
  readonly #states = new Map<string, FunctionState>();
  readonly #quotas: ProjectQuotas;
  readonly #routes: FunctionRoutes;
  /** The functions that have steps to run. */
  readonly #queue: RunQueue<FunctionState>;
  readonly #recompiles: Recompiles;
  readonly #storing: Loop[] = [];
  readonly #closing = new AbortController();
  #isApplied = false;
  #isSettled = false;

  constructor(parts: ReconcilerParts) {
    const { clock, log, quota: limits } = parts;
    const { reconcileParallelMax: parallelMax } = EDGE_TUNING;
    this.#parts = parts;
    this.#quotas = createProjectQuotas({ limits, clock });
    this.#routes = createFunctionRoutes({ waitersMax: POOL_DEFAULTS.queueLengthMax });
    this.#queue = createRunQueue({ parallelMax, run: (state) => this.#run(state) });
    this.#recompiles = createRecompiles({
      clock,
      random: () => randomFraction(parts.random),
      signal: this.#closing.signal,
      log,
      compile: (running, signal) => parts.steps.compile(running, signal),
      onCompiled: (state) => this.#enqueue(state),
    });
  }

  /** Lets steps run; called once the engine takes work. */
  start(): void {
    this.#queue.start();
    const { cache, puller, clock, random, log, onChange } = this.#parts;
    const states = (): Iterable<FunctionState> => this.#states.values();
    const draw = (): number => randomFraction(random);
    this.#storing.push(startStoring({ states, cache, puller, clock, random: draw, log, onChange }));
  }

  /** The routes of all functions that this node has. */
  get routing(): Routing {
    return this.#routes.routing;
  }

  /** Takes the whole desired state of this node; may be called at any time, also with the same state. */
  apply(desired: DesiredState): void {
    const wanted = new Map(desired.functions.map((one) => [one.function_id, one]));
    this.#quotas.keepOnly(new Set(desired.functions.map(({ project_id }) => project_id)));
    for (const id of [...wanted.keys(), ...this.#parts.cache.storedFunctions()]) {
      if (!this.#states.has(id)) this.#states.set(id, createFunctionState(id));
    }
    for (const state of this.#states.values()) {
      this.#want(state, wanted.get(state.functionId) ?? null);
      this.#assignRoutes(state);
    }
    this.#routes.publish();
    this.#isApplied = true;
    for (const state of this.#states.values()) this.#enqueue(state);
    this.#checkSettled();
  }

  /** What the heartbeat reports. */
  observed(): ObservedFunction[] {
    return [...this.#states.values()].flatMap(observe).slice(0, SYNC_BOUNDS.functionsMax);
  }

  /** Every function of the first desired state has come up or failed at least once. */
  isSettled(): boolean {
    return this.#isSettled;
  }

  *pools(): Iterable<{ functionId: string; stats: PoolStats }> {
    for (const { functionId, serving } of this.#states.values()) {
      if (serving !== null) yield { functionId, stats: serving.pool.stats() };
    }
  }

  cacheTotals(): { entries: number; bytes: number } {
    return this.#parts.cache.totals();
  }

  /**
   * Ends the steps that run, within `graceMs` and `ENGINE_BOUNDS.closeMs`, then every pool, within `graceMs`.
   * Nothing is applied after it.
   */
  async drain({ graceMs }: { graceMs: number }): Promise<void> {
    const { steps, puller, clock } = this.#parts;
    puller.close();
    this.#closing.abort();
    const storing = this.#storing.map((loop) => loop.close());
    const stepsEnded = Promise.all([this.#queue.close(), this.#recompiles.close(), ...storing]);
    for (const { functionId } of this.#states.values()) this.#routes.settle(functionId, NOT_READY);
    // Otherwise a start function that does not return would hold up the end of the node.
    for (const state of this.#states.values()) if (isWarming(state)) void steps.discard(state);
    await within(clock, Math.min(graceMs, ENGINE_BOUNDS.closeMs), stepsEnded);
    for (const state of this.#states.values()) {
      this.#recompiles.end(state);
      await steps.discard(state);
      steps.drain(state);
      steps.stop(state, { graceMs });
    }
    await steps.drained();
  }

  /** Closes the cache; called after `drain`, or where nothing was applied. */
  close(): void {
    this.#parts.cache.close();
  }

  #want(state: FunctionState, desired: DesiredFunction | null): void {
    const { wanted, functionId } = state;
    const key = desired === null ? null : versionKey(desired);
    if (desired === null || key === null) {
      state.wanted = null;
      state.failure = null;
      this.#recompiles.end(state);
    } else if (wanted !== null && wanted.key === key) {
      state.wanted = { key, desired, figures: wanted.figures };
    } else {
      state.wanted = { key, desired, figures: this.#parts.figures.openVersion(functionId) };
      state.failure = null;
      if (state.serving?.key === key) this.#recompiles.begin(state);
      else this.#recompiles.end(state);
    }
  }

  /** A wanted function has its routes at once, also while no version serves; any other has none. */
  #assignRoutes(state: FunctionState): void {
    const { functionId, isBusy, wanted, serving } = state;
    if (wanted === null) {
      this.#routes.remove(functionId);
      this.#routes.settle(functionId, NOT_READY);
    } else if (serving === null) {
      this.#leadToPending(state, wanted);
    } else if (isBusy && serving.key === wanted.key && haveOtherRoutes(serving, wanted)) {
      // The plan moves routes too, but only after the step that runs.
      serving.desired = wanted.desired;
      this.#leadToServing(serving);
    } else if (!this.#routes.has(functionId)) {
      this.#leadToServing(serving);
    }
  }

  #leadToPending(state: FunctionState, wanted: Wanted): void {
    const quota = this.#quotas.of(wanted.desired.project_id);
    const version = pendingVersion(wanted, { quota, whenReady: () => this.#whenReady(state) });
    this.#routes.lead(state.functionId, version, wanted.desired.routes);
  }

  #leadToServing(serving: Running): void {
    const { function_id: functionId, project_id: projectId, routes } = serving.desired;
    const version = readyVersion(serving, this.#quotas.of(projectId));
    this.#routes.lead(functionId, version, routes);
    this.#routes.settle(functionId, { ready: true, version });
  }

  async #whenReady(state: FunctionState): Promise<Readiness> {
    const { functionId, wanted, serving, failure, isBusy } = state;
    if (serving !== null) {
      const quota = this.#quotas.of(serving.desired.project_id);
      return { ready: true, version: readyVersion(serving, quota) };
    }
    if (wanted === null || this.#closing.signal.aborted) return NOT_READY;
    if (failure !== null && !isBusy) return this.#readinessAfter(failure);
    this.#queue.moveToFront(state);
    return (await this.#routes.wait(functionId)) ?? NOT_READY;
  }

  #readinessAfter({ code, retryAtMs }: FunctionFailure): Readiness {
    const leftMs = Math.min(retryAtMs - this.#parts.clock.monotonicMs(), EDGE_TUNING.reconcileDelayMsMax);
    const retryAfterMs = Math.max(NOT_READY_RETRY_MS, leftMs);
    const isArtifact = code === 'artifact_unavailable';
    return { ready: false, code: isArtifact ? 'artifact_unavailable' : 'not_ready', retryAfterMs };
  }

  #stepsFor(state: FunctionState): Step[] {
    const isStored = this.#parts.cache.isStored(state.functionId);
    return plan(state.wanted?.desired ?? null, actualOf(state, { isStored }));
  }

  #enqueue(state: FunctionState): void {
    const { isBusy, failure } = state;
    if (isBusy || this.#closing.signal.aborted) return;
    if (failure !== null && failure.retryAtMs > this.#parts.clock.monotonicMs()) return;
    if (this.#stepsFor(state).length === 0) return this.#forgetUnwanted(state);
    state.isBusy = true;
    this.#queue.add(state);
  }

  #forgetUnwanted({ functionId, wanted, isBusy }: FunctionState): void {
    if (wanted !== null || isBusy) return;
    this.#states.delete(functionId);
    this.#parts.figures.forgetFunction(functionId);
  }

  /** Plans again after every step, so that a new desired state counts at once. */
  async #run(state: FunctionState): Promise<void> {
    while (!this.#closing.signal.aborted) {
      this.#recompiles.adopt(state);
      const [step] = this.#stepsFor(state);
      if (step === undefined) break;
      const key = state.wanted?.key ?? null;
      try {
        if (step === 'switch') this.#switch(state);
        else await this.#parts.steps.run(step, state);
      } catch (failure) {
        if (await this.#fail(state, key, failure)) break;
      }
    }
    state.isBusy = false;
    if (this.#stepsFor(state).length === 0) {
      state.failure = null;
      this.#forgetUnwanted(state);
    }
    this.#checkSettled();
    this.#parts.onChange();
  }

  /**
   * Moves all routes of a function to its candidate, to other rules, or away. Whatever fails, the version that
   * has the routes has a pool: they move before its predecessor is retired.
   */
  #switch(state: FunctionState): void {
    const { functionId, wanted, candidate, serving } = state;
    const { cache, log, onChange } = this.#parts;
    if (candidate !== null && candidate.code !== null && candidate.pool !== null) {
      const { key, code, pool, figures } = candidate;
      const desired = wanted?.desired ?? candidate.desired;
      const next = { key, desired, code, pool, figures, isStored: candidate.isStored };
      this.#publish(next);
      if (serving !== null) state.retired.push(serving);
      state.serving = next;
      state.candidate = null;
      this.#recompiles.begin(state);
      const { version } = desired;
      cache.pin(functionId, version);
      log.info('switched', { function_id: functionId, version, execution: code.execution });
    } else if (serving !== null && wanted !== null) {
      serving.desired = wanted.desired;
      this.#publish(serving);
    } else if (serving !== null) {
      state.retired.push(serving);
      state.serving = null;
      log.info('switched off', { function_id: functionId, version: serving.desired.version });
    }
    onChange();
  }

  #publish(serving: Running): void {
    this.#leadToServing(serving);
    this.#routes.publish();
  }

  /** `key` is that of the wanted version when the step began. True when the function waits for a retry. */
  async #fail(state: FunctionState, key: string | null, thrown: unknown): Promise<boolean> {
    const { steps, clock, random, log } = this.#parts;
    await steps.discard(state);
    if (this.#closing.signal.aborted) return true;
    if (key !== (state.wanted?.key ?? null)) return false;
    if (state.recompile?.isCompiled === true && state.serving?.key === key) {
      log.warn('a version did not come up with its compiled code', {
        function_id: state.functionId,
        error: String(thrown),
      });
      this.#recompiles.failed(state);
      return false;
    }
    const before = state.failure?.key === key ? state.failure : null;
    const nowMs = clock.monotonicMs();
    const failure = failureOf(thrown, { key, before, nowMs, random: () => randomFraction(random) });
    state.failure = failure;
    const delayMs = failure.retryAtMs - nowMs;
    log.error('a function could not be brought to its desired state', {
      function_id: state.functionId,
      version: state.wanted?.desired.version ?? null,
      error: failure.code,
      message: failure.code === 'internal' ? String(thrown) : failure.message,
      attempt: failure.attempt,
      retry_ms: failure.isOver ? null : Math.round(delayMs),
    });
    this.#routes.settle(state.functionId, this.#readinessAfter(failure));
    if (failure.isOver) return true;
    void clock.sleep(delayMs, this.#closing.signal).then(() => {
      failure.retryAtMs = 0;
      if (state.failure === failure) this.#enqueue(state);
    });
    return true;
  }

  #checkSettled(): void {
    if (this.#isSettled || !this.#isApplied) return;
    this.#isSettled = [...this.#states.values()].every(({ isBusy }) => !isBusy);
  }
}

function haveOtherRoutes(serving: Running, wanted: Wanted): boolean {
  return routesKey(serving.desired) !== routesKey(wanted.desired);
}

function isWarming({ candidate }: FunctionState): boolean {
  return candidate !== null && candidate.pool !== null;
}
