// The pool of one version: its workers, the queue for them, and how many there should be.
import type { Clock } from '../../base/clock.ts';
import { ENGINE_BOUNDS } from '../../base/limits/engine.ts';
import { POOL_BOUNDS, POOL_TUNING } from '../../base/limits/pool.ts';
import type { Log } from '../../base/log.ts';
import { backoffMs } from '../../base/retry.ts';
import type { VersionSettings } from '../../model/function.ts';
import type { InvocationOutcome, InvocationRequest } from '../../model/invocation.ts';
import { createBacklog } from './backlog.ts';
import type { Pool, PoolStats, VersionRef } from '../engine.ts';
import { createGrowth, type Demand, type Growth } from './growth.ts';
import { createQueue, type Invocation, type Queue } from './queue.ts';
import { type ExitFault, type Fault, startCode } from '../ring/results.ts';
import type { Roster } from './roster.ts';
import type { Worker, WorkerOwner } from './worker.ts';

/** A slow queue gets up to `workersBusy` workers at once, and more of them only when it stands. */
export type PoolLimits = {
  workersMin: number;
  workersMax: number;
  queueLengthMax: number;
  workersBusy: number;
};

export type PoolOptions = {
  ref: VersionRef;
  settings: VersionSettings;
  codeFd: number;
  startBlock: Uint8Array;
  roster: Roster;
  limits: PoolLimits;
  clock: Clock;
  log: Log;
  random: () => number;
  /** Something is under way: the sweep must run. */
  stir(): void;
  closed(pool: VersionPool): void;
};

type WarmOutcome = Awaited<ReturnType<Pool['warm']>>;
type Warming = { count: number; deadlineMs: number; resolve: (outcome: WarmOutcome) => void };

const BACKOFF = { delayMsMin: POOL_TUNING.workerRetryMsMin, delayMsMax: POOL_TUNING.workerRetryMsMax };
const RECYCLING_MS_MIN = 100;
const SHUTTING_DOWN: InvocationOutcome = { kind: 'unavailable', code: 'shutting_down' };
const WAITED: InvocationOutcome = {
  kind: 'fault',
  code: 'execution_timeout',
  detail: 'it waited in the queue',
  logs: null,
};
const RESTARTING: InvocationOutcome = { kind: 'unavailable', code: 'engine_restarting' };

export class VersionPool implements Pool, WorkerOwner {
  readonly ref: VersionRef;
  readonly recyclingMsMax: number;
  readonly #options: PoolOptions;
  readonly #idle: Worker[] = [];
  readonly #members = new Set<Worker>();
  readonly #queue: Queue;
  readonly #growth: Growth;
  readonly #backlog = createBacklog();
  #warmings: Warming[] = [];
  #starting = 0;
  #busy = 0;
  /** Workers to keep even when idle; nothing is kept before the first use. */
  #floor = 0;
  #failures = 0;
  #lastFault: Fault = { code: 'guest_start_failed', detail: null };
  #retryAtMs = 0;
  /** The worker that was given something last. */
  #last: Worker | null = null;
  #phase: 'open' | 'closing' | 'closed' = 'open';
  #settled: (() => void) | null = null;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.ref = options.ref;
    this.recyclingMsMax = Math.max(options.settings.max_execution_ms, RECYCLING_MS_MIN);
    this.#queue = createQueue(options.limits.queueLengthMax);
    this.#growth = createGrowth(options.limits);
  }

  invoke(request: InvocationRequest, deadlineMs: number): Promise<InvocationOutcome> {
    if (this.#phase !== 'open') return Promise.resolve(SHUTTING_DOWN);
    return new Promise((resolve) => {
      const invocation: Invocation = { request, deadlineMs, resolve, sinceMs: 0, slot: -1, hasMoved: false };
      const worker = this.#queue.length > 0 ? undefined : this.#choose(invocation);
      if (worker === undefined) this.#wait(invocation);
      else if (this.#post(worker, invocation) === 'refused') this.#feed(worker);
    });
  }

  warm(count: number): Promise<WarmOutcome> {
    const { clock, limits, stir } = this.#options;
    const wanted = Math.min(count, limits.workersMax);
    this.#floor = Math.max(this.#floor, limits.workersMin);
    if (this.#idle.length + this.#busy >= wanted) return Promise.resolve({ ok: true });
    return new Promise((resolve) => {
      this.#warmings.push({ count: wanted, deadlineMs: clock.monotonicMs() + POOL_BOUNDS.warmMs, resolve });
      stir();
      this.#grow();
    });
  }

  stats(): PoolStats {
    const [workers, idle, busy] = [this.#members.size, this.#idle.length, this.#busy];
    return { workers, idle, busy, starting: this.#starting, queued: this.#queue.length };
  }

  async close({ graceMs }: { graceMs: number }): Promise<void> {
    if (this.#phase !== 'open') return;
    this.#phase = 'closing';
    this.#options.stir();
    this.#endWarmings({ ok: false, code: 'worker_lost', detail: 'the pool was closed' });
    await this.#settle(() => this.#busy === 0 && this.#queue.length === 0, graceMs);
    this.#phase = 'closed';
    this.#queue.takeAll((waiting) => waiting.resolve(SHUTTING_DOWN));
    this.#idle.length = 0;
    for (const worker of this.#members) {
      endAll(worker, SHUTTING_DOWN);
      if (worker.state !== 'ending') this.#options.roster.end(worker);
    }
    this.#busy = 0;
    this.#starting = 0;
    await this.#settle(() => this.#members.size === 0, ENGINE_BOUNDS.closeMs);
    this.#options.closed(this);
  }

  /**
   * Ends what has waited too long and starts what is missing; called by the sweep. True while something
   * waits.
   */
  tick(nowMs: number): boolean {
    if (this.#phase === 'closed') return false;
    const late = this.#options.roster.isAttached ? WAITED : RESTARTING;
    this.#queue.takeLate(nowMs, (waiting) => waiting.resolve(late));
    const lateWarmings = this.#warmings.filter((warming) => nowMs >= warming.deadlineMs);
    if (lateWarmings.length > 0) {
      this.#warmings = this.#warmings.filter((warming) => nowMs < warming.deadlineMs);
      const outcome = { ok: false, code: 'worker_lost', detail: 'no worker became ready in time' } as const;
      for (const warming of lateWarmings) warming.resolve(outcome);
    }
    this.#growth.look(this.#demand());
    this.#grow();
    this.#checkSettled();
    return this.#queue.length > 0 || this.#warmings.length > 0;
  }

  hasIdle(): boolean {
    return this.#idle.length > 0;
  }

  spares(count: 'above_min' | 'last'): boolean {
    return count === 'last' || this.#members.size > this.#floor;
  }

  onReady(worker: Worker): void {
    this.#starting -= 1;
    this.#failures = 0;
    this.#feed(worker);
    const ready = this.#idle.length + this.#busy;
    const warmed = this.#warmings.filter((warming) => warming.count <= ready);
    this.#warmings = this.#warmings.filter((warming) => warming.count > ready);
    for (const warming of warmed) warming.resolve({ ok: true });
  }

  onStartFailed(worker: Worker, fault: Fault): void {
    this.#starting -= 1;
    this.#members.delete(worker);
    this.#noteFailure(fault);
  }

  onAnswer(worker: Worker, invocation: Invocation, outcome: InvocationOutcome, cpuUs: number): void {
    this.#backlog.answered(cpuUs);
    this.#growth.answered();
    if (worker.given.length === 0) this.#busy -= 1;
    this.#feed(worker);
    invocation.resolve(outcome);
  }

  onWithdrawn(worker: Worker, invocations: readonly Invocation[]): void {
    if (this.#phase === 'closed') {
      for (const invocation of invocations) invocation.resolve(SHUTTING_DOWN);
      return;
    }
    if (worker.state === 'idle') {
      this.#busy -= 1;
      this.#idle.unshift(worker);
    }
    const sinceMs = this.#queue.oldestMs() ?? this.#options.clock.monotonicMs();
    for (const invocation of invocations) invocation.sinceMs = sinceMs;
    this.#queue.putBack(invocations);
    this.#share();
  }

  /** What is missing now is started by the next tick, or when the worker has exited. */
  onKilled(worker: Worker, outcome: InvocationOutcome): void {
    this.#forget(worker);
    endAll(worker, outcome);
  }

  /** A pool that lost its last workers to others stays without until it is used again. */
  onEvicted(worker: Worker): void {
    this.#forget(worker);
    this.#floor = Math.min(this.#floor, this.#members.size);
  }

  onGone(worker: Worker, fault: ExitFault | null): void {
    const { state } = worker;
    this.#forget(worker);
    if (fault !== null) {
      const { ref } = this;
      this.#options.log.warn('a worker of this function ended by itself', {
        function_id: ref.functionId,
        version: ref.version,
        code: fault.code,
        detail: fault.detail,
        while: state,
      });
      if (state === 'starting') this.#noteFailure({ ...fault, code: startCode(fault) });
      else if (worker.served === 0 && state === 'idle') this.#noteFailure(fault);
      endAll(worker, { kind: 'fault', code: fault.code, detail: fault.detail, logs: null });
    }
    this.#grow();
    this.#checkSettled();
  }

  onLost(worker: Worker): void {
    this.#forget(worker);
    endAll(worker, RESTARTING);
    this.#checkSettled();
  }

  /** Takes it out of every count; the second time does nothing. */
  #forget(worker: Worker): void {
    if (!this.#members.delete(worker)) return;
    if (this.#last === worker) this.#last = null;
    if (this.#phase === 'closed') return;
    if (worker.state === 'starting') this.#starting -= 1;
    if (worker.state === 'busy') this.#busy -= 1;
    const at = this.#idle.indexOf(worker);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  /** A worker that runs already, while its backlog is short; else one that idles. */
  #choose(invocation: Invocation): Worker | undefined {
    if (this.#last !== null && this.#backlog.hasRoom(this.#last, invocation)) return this.#last;
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    for (const worker of this.#members) if (this.#backlog.hasRoom(worker, invocation)) return worker;
    return undefined;
  }

  /** A worker that does not take it has ended, and then the invocation waits in the queue. */
  #post(worker: Worker, invocation: Invocation): 'posted' | 'refused' | 'lost' {
    const { roster, stir } = this.#options;
    const wasIdle = worker.state === 'idle';
    const posted = roster.post(worker, invocation);
    if (posted === 'posted') {
      this.#last = worker;
      if (wasIdle) this.#busy += 1;
      stir();
      return 'posted';
    }
    if (posted !== 'lost') {
      invocation.resolve({ kind: 'refused', code: posted });
      return 'refused';
    }
    this.#forget(worker);
    endAll(worker, { kind: 'fault', code: 'guest_crashed', detail: null, logs: null });
    roster.end(worker);
    this.#wait(invocation);
    this.#share();
    return 'lost';
  }

  /** Gives what waits to whoever has room for it. */
  #share(): void {
    for (;;) {
      const first = this.#queue.first();
      const worker = first === undefined ? undefined : this.#choose(first);
      if (worker === undefined) return;
      this.#feed(worker);
    }
  }

  #wait(invocation: Invocation): void {
    invocation.sinceMs = this.#options.clock.monotonicMs();
    if (!this.#queue.put(invocation)) {
      invocation.resolve({ kind: 'busy', retryAfterMs: this.#options.settings.max_execution_ms });
      return;
    }
    this.#floor = Math.max(this.#floor, this.#options.limits.workersMin);
    this.#options.stir();
    this.#grow();
  }

  /** A worker takes what it has room for and what is not late; one that has nothing to do idles. */
  #feed(worker: Worker): void {
    const { clock } = this.#options;
    if (worker.hasExited || this.#phase === 'closed') return;
    for (;;) {
      const next = this.#queue.first();
      if (next === undefined || !(worker.state === 'idle' || this.#backlog.hasRoom(worker, next))) break;
      this.#queue.take();
      if (clock.monotonicMs() >= next.deadlineMs) next.resolve(WAITED);
      else if (this.#post(worker, next) === 'lost') return;
    }
    if (worker.state !== 'idle') return;
    this.#idle.push(worker);
    this.#checkSettled();
  }

  /** Starts what is missing for the queue, the warmings and the floor, within the bounds. */
  #grow(): void {
    const { limits, roster, clock } = this.#options;
    if (this.#phase === 'closed' || !roster.isAttached) return;
    const nowMs = clock.monotonicMs();
    const kept = this.#phase === 'open' ? this.#floor : 0;
    const warm = this.#warmings.reduce((most, warming) => Math.max(most, warming.count), kept);
    const missing = Math.max(this.#growth.missing(this.#demand(), nowMs), warm - this.#members.size);
    const count = Math.min(missing, limits.workersMax - this.#members.size);
    if (count <= 0) return;
    if (nowMs < this.#retryAtMs) {
      if (this.#members.size === 0) this.#fail(this.#lastFault);
      return;
    }
    this.#growth.started();
    for (let started = 0; started < count; started += 1) if (!this.#start()) return;
  }

  #demand(): Demand {
    const oldestMs = this.#queue.oldestMs();
    return { queued: this.#queue.length, oldestMs, starting: this.#starting, workers: this.#members.size };
  }

  #start(): boolean {
    const { codeFd, roster, startBlock } = this.#options;
    const startMsMax = Math.max(this.#options.settings.max_execution_ms, POOL_BOUNDS.workerStartMs);
    const worker = roster.start({ owner: this, codeFd, startBlock, startMsMax });
    if (worker === 'full') {
      if (!roster.evict('above_min') && this.#members.size === 0) roster.evict('last');
      return false;
    }
    if (worker === 'refused') return false;
    this.#members.add(worker);
    this.#starting += 1;
    this.#options.stir();
    return true;
  }

  /**
   * A version whose workers die at start is tried again ever more rarely; with none left, nobody waits for
   * it.
   */
  #noteFailure(fault: Fault): void {
    const { clock, random } = this.#options;
    this.#lastFault = { code: fault.code, detail: fault.detail };
    this.#retryAtMs = clock.monotonicMs() + backoffMs(this.#failures, BACKOFF, random);
    this.#failures += 1;
    if (this.#members.size === 0) this.#fail(this.#lastFault);
    else this.#endWarmings({ ok: false, ...this.#lastFault });
  }

  #fail(fault: Fault): void {
    this.#queue.takeAll((waiting) => waiting.resolve({ kind: 'fault', ...fault, logs: null }));
    this.#endWarmings({ ok: false, ...fault });
  }

  #endWarmings(outcome: WarmOutcome): void {
    const ended = this.#warmings;
    this.#warmings = [];
    for (const warming of ended) warming.resolve(outcome);
  }

  /** Resolves when `isSettled` holds after a change, or after `ms`. */
  async #settle(isSettled: () => boolean, ms: number): Promise<void> {
    if (isSettled() || ms <= 0) return;
    const abort = new AbortController();
    this.#settled = () => {
      if (isSettled()) abort.abort();
    };
    await this.#options.clock.sleep(ms, abort.signal);
    this.#settled = null;
  }

  #checkSettled(): void {
    this.#settled?.();
  }
}

function endAll(worker: Worker, outcome: InvocationOutcome): void {
  for (const invocation of worker.given.splice(0)) invocation.resolve(outcome);
}
