// The pool of one version: its workers, the queue for them, and how many there should be.
import type { Clock } from '../../base/clock.ts';
import { within } from '../../base/deadline.ts';
import { ENGINE_BOUNDS } from '../../base/limits/engine.ts';
import { POOL_BOUNDS } from '../../base/limits/pool.ts';
import type { Log } from '../../base/log.ts';
import type { VersionSettings } from '../../model/function.ts';
import type { GuestFault, InvocationOutcome, InvocationRequest } from '../../model/invocation.ts';
import type { Pool, PoolStats, VersionRef } from '../engine.ts';
import { createBacklogEstimate } from './backlog.ts';
import { startExitFault } from './exit.ts';
import { createGrowth, type Demand, type Growth } from './growth.ts';
import { createPause, type Pause } from './pause.ts';
import { createQueue, type Invocation, type Queue } from './queue.ts';
import type { LeaveCause, Worker, WorkerEvent, WorkerOwner } from './worker.ts';
import type { WorkerTable } from './worker_table.ts';

/** A slow queue gets up to `workersBusy` workers at once, and more of them only when it stands. */
export type PoolLimits = {
  workersMin: number;
  workersMax: number;
  queueLengthMax: number;
  workersBusy: number;
};

export type VersionPoolOptions = {
  ref: VersionRef;
  settings: VersionSettings;
  codeFd: number;
  startBlock: Uint8Array;
  table: WorkerTable;
  limits: PoolLimits;
  clock: Clock;
  log: Log;
  /** In [0, 1), for jitter. */
  random: () => number;
  /** Something is under way from here on: the sweep must run. Called for every request. */
  arm(): void;
  closed(pool: VersionPool): void;
};

type WarmOutcome = Awaited<ReturnType<Pool['warm']>>;
type Warming = { count: number; deadlineMs: number; resolve: (outcome: WarmOutcome) => void };

/** Nobody waits for such a worker, and a pool that replaced it at once would lose the next one too. */
const GONE_UNTIL_USED: ReadonlySet<LeaveCause> = new Set([
  'evicted',
  'recycling_late',
  'burning',
  'flooding',
  'hoarding',
]);
const MISBEHAVED: ReadonlySet<LeaveCause> = new Set(['burning', 'flooding', 'hoarding']);
const RECYCLING_MS_MIN = 100;
const SHUTTING_DOWN: InvocationOutcome = { kind: 'unavailable', code: 'shutting_down' };
const RESTARTING: InvocationOutcome = { kind: 'unavailable', code: 'engine_restarting' };
const WAITED: InvocationOutcome = {
  kind: 'fault',
  code: 'execution_timeout',
  detail: 'it waited in the queue',
  logs: null,
};

export class VersionPool implements Pool, WorkerOwner {
  readonly ref: VersionRef;
  readonly recyclingMsMax: number;
  readonly #options: VersionPoolOptions;
  /** Every worker that has not left; those in `#idle` too. */
  readonly #workers = new Set<Worker>();
  /** The worker that became idle last is used first, so that the others can end. */
  readonly #idle: Worker[] = [];
  readonly #queue: Queue;
  readonly #growth: Growth;
  readonly #estimate = createBacklogEstimate();
  #warmings: Warming[] = [];
  #starting = 0;
  /** Workers that are kept when idle; none before the first use. */
  #floor = 0;
  readonly #pause: Pause;
  /** The worker that got the last request. */
  #last: Worker | null = null;
  #phase: 'open' | 'closing' | 'closed' = 'open';
  readonly #drained = Promise.withResolvers<void>();

  constructor(options: VersionPoolOptions) {
    this.#options = options;
    this.ref = options.ref;
    this.recyclingMsMax = Math.max(options.settings.max_execution_ms, RECYCLING_MS_MIN);
    this.#queue = createQueue(options.limits.queueLengthMax);
    this.#growth = createGrowth(options.limits);
    this.#pause = createPause(options);
  }

  invoke(request: InvocationRequest, deadlineMs: number): Promise<InvocationOutcome> {
    if (this.#phase !== 'open') return Promise.resolve(SHUTTING_DOWN);
    return new Promise((resolve) => {
      const invocation: Invocation = { request, deadlineMs, resolve, sinceMs: 0, slot: -1, hasMoved: false };
      const worker = this.#queue.length > 0 ? undefined : this.#choose(invocation);
      if (worker === undefined) this.#enqueue(invocation);
      else if (this.#post(worker, invocation) === 'refused') this.#feed(worker);
    });
  }

  warm(count: number): Promise<WarmOutcome> {
    const { arm, clock, limits } = this.#options;
    const wanted = Math.min(count, limits.workersMax);
    this.#floor = Math.max(this.#floor, limits.workersMin);
    if (this.#ready() >= wanted) return Promise.resolve({ ok: true });
    return new Promise((resolve) => {
      this.#warmings.push({ count: wanted, deadlineMs: clock.monotonicMs() + POOL_BOUNDS.warmMs, resolve });
      arm();
      this.#grow();
    });
  }

  stats(): PoolStats {
    const workers = this.#workers.size;
    const idle = this.#idle.length;
    const starting = this.#starting;
    return { workers, idle, busy: workers - idle - starting, starting, queued: this.#queue.length };
  }

  async close({ graceMs }: { graceMs: number }): Promise<void> {
    if (this.#phase !== 'open') return;
    const { arm, clock, closed } = this.#options;
    this.#phase = 'closing';
    arm();
    this.#endWarmings({ ok: false, code: 'worker_lost', detail: 'the pool was closed' });
    this.#checkDrained();
    if (graceMs > 0) await within(clock, graceMs, this.#drained.promise);
    this.#phase = 'closed';
    this.#queue.takeAll((waiting) => waiting.resolve(SHUTTING_DOWN));
    const workers = [...this.#workers];
    this.#workers.clear();
    this.#idle.length = 0;
    this.#starting = 0;
    for (const worker of workers) resolveAll(worker.kill(), SHUTTING_DOWN);
    await within(clock, ENGINE_BOUNDS.closeMs, Promise.all(workers.map(({ ended }) => ended)));
    closed(this);
  }

  /** Ends what has waited too long and starts what is missing; true while something waits. */
  tick(nowMs: number): boolean {
    if (this.#phase === 'closed') return false;
    const late = this.#options.table.isAttached ? WAITED : RESTARTING;
    this.#queue.takeLate(nowMs, (waiting) => waiting.resolve(late));
    this.#endLateWarmings(nowMs);
    this.#growth.tick(this.#demand());
    this.#grow();
    this.#checkDrained();
    return this.#queue.length > 0 || this.#warmings.length > 0;
  }

  hasIdle(): boolean {
    return this.#idle.length > 0;
  }

  mayEvict(floor: 'above_min' | 'none'): boolean {
    return floor === 'none' || this.#workers.size > this.#floor;
  }

  /** Everything that its workers do reaches the pool here. */
  take(event: WorkerEvent): void {
    switch (event.kind) {
      case 'ready':
        return this.#onReady(event.worker);
      case 'answered':
        this.#estimate.answered(event.cpuUs);
        this.#growth.answered();
        this.#feed(event.worker);
        return event.invocation.resolve(event.outcome);
      case 'returned':
        return this.#onReturned(event.worker, event.invocations);
      case 'left':
        return this.#onLeft(event);
      case 'reaped':
        return this.#grow();
    }
  }

  #onReady(worker: Worker): void {
    this.#starting -= 1;
    this.#pause.started();
    this.#feed(worker);
    const ready = this.#ready();
    const warmed = this.#warmings.filter((warming) => warming.count <= ready);
    this.#warmings = this.#warmings.filter((warming) => warming.count > ready);
    for (const warming of warmed) warming.resolve({ ok: true });
  }

  /** What comes back goes in front of the queue, which is then as old as it was. */
  #onReturned(worker: Worker, invocations: readonly Invocation[]): void {
    if (worker.state === 'idle') this.#idle.unshift(worker);
    const sinceMs = this.#queue.oldestMs() ?? this.#options.clock.monotonicMs();
    for (const invocation of invocations) invocation.sinceMs = sinceMs;
    this.#queue.putBack(invocations);
    this.#share();
  }

  /** What is missing is started by the next tick, or when the worker is reaped. */
  #onLeft(event: Extract<WorkerEvent, { kind: 'left' }>): void {
    const { cause, ended, fault, from, worker } = event;
    if (from === 'starting') this.#starting -= 1;
    this.#forget(worker);
    if (GONE_UNTIL_USED.has(cause)) {
      // A pool that lost its last workers in this way stays without until it is used again.
      this.#floor = Math.min(this.#floor, this.#workers.size);
    }
    if (MISBEHAVED.has(cause)) this.#pause.misbehaved();
    if (fault !== null && (cause === 'exited' || from === 'starting')) this.#logExit(fault, from);
    if (fault !== null && from === 'starting') this.#noteFailure(startExitFault(fault));
    else if (fault !== null && from === 'idle' && !worker.hasAnswered) this.#noteFailure(fault);
    for (const { invocation, outcome } of ended) invocation.resolve(outcome);
    this.#checkDrained();
  }

  #logExit({ code, detail }: GuestFault, from: string): void {
    const { log, ref } = this.#options;
    const { functionId: function_id, version } = ref;
    const fields = { function_id, version, code, detail, while: from };
    const what = from === 'starting' ? 'did not start' : 'ended by itself';
    log.warn(`a worker of this function ${what}`, fields);
  }

  #forget(worker: Worker): void {
    this.#workers.delete(worker);
    if (this.#last === worker) this.#last = null;
    const at = this.#idle.indexOf(worker);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  /** Workers that have started. */
  #ready(): number {
    return this.#workers.size - this.#starting;
  }

  /** A worker that runs already, while its backlog is short; else an idle one. */
  #choose(invocation: Invocation): Worker | undefined {
    if (this.#last !== null && this.#estimate.hasRoom(this.#last, invocation)) return this.#last;
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    for (const worker of this.#workers) if (this.#estimate.hasRoom(worker, invocation)) return worker;
    return undefined;
  }

  /** `lost`: the worker is gone and the invocation waits in the queue. `refused`: it fits into no slot. */
  #post(worker: Worker, invocation: Invocation): 'posted' | 'refused' | 'lost' {
    const posted = worker.post(invocation);
    if (posted === 'posted') {
      this.#last = worker;
      this.#options.arm();
      return 'posted';
    }
    if (posted !== 'lost') {
      invocation.resolve({ kind: 'refused', code: posted });
      return 'refused';
    }
    this.#forget(worker);
    resolveAll(worker.kill(), { kind: 'fault', code: 'guest_crashed', detail: null, logs: null });
    this.#enqueue(invocation);
    this.#share();
    return 'lost';
  }

  /** Gives what waits to whichever worker has room for it. */
  #share(): void {
    for (;;) {
      const first = this.#queue.first();
      const worker = first === undefined ? undefined : this.#choose(first);
      if (worker === undefined) return;
      this.#feed(worker);
    }
  }

  #enqueue(invocation: Invocation): void {
    const { arm, clock, limits, settings } = this.#options;
    invocation.sinceMs = clock.monotonicMs();
    if (!this.#queue.put(invocation)) {
      invocation.resolve({ kind: 'busy', retryAfterMs: settings.max_execution_ms });
      return;
    }
    this.#floor = Math.max(this.#floor, limits.workersMin);
    arm();
    this.#grow();
  }

  /** A worker takes what it has room for and what is not late; one without anything to do becomes idle. */
  #feed(worker: Worker): void {
    const { clock } = this.#options;
    if (worker.hasExited || this.#phase === 'closed') return;
    for (;;) {
      const next = this.#queue.first();
      if (next === undefined || !(worker.state === 'idle' || this.#estimate.hasRoom(worker, next))) break;
      this.#queue.take();
      if (clock.monotonicMs() >= next.deadlineMs) next.resolve(WAITED);
      else if (this.#post(worker, next) === 'lost') return;
    }
    if (worker.state !== 'idle') return;
    this.#idle.push(worker);
    this.#checkDrained();
  }

  /** Starts what is missing for the queue, the warmings and the floor, within the bounds. */
  #grow(): void {
    const { clock, limits, table } = this.#options;
    if (this.#phase === 'closed' || !table.isAttached) return;
    const nowMs = clock.monotonicMs();
    const floor = this.#phase === 'open' ? this.#floor : 0;
    const kept = this.#warmings.reduce((most, warming) => Math.max(most, warming.count), floor);
    const missing = Math.max(this.#growth.missing(this.#demand(), nowMs), kept - this.#workers.size);
    const count = Math.min(missing, limits.workersMax - this.#workers.size);
    if (count <= 0) return;
    const fault = this.#pause.fault(nowMs);
    if (fault !== null) {
      if (this.#workers.size === 0) this.#fail(fault);
      return;
    }
    this.#growth.started();
    for (let started = 0; started < count; started += 1) {
      const outcome = this.#start();
      if (outcome === 'no_room') this.#settleForLess();
      if (outcome !== 'started') return;
    }
  }

  #demand(): Demand {
    const queued = this.#queue.length;
    const oldestMs = this.#queue.oldestMs();
    return { queued, oldestMs, starting: this.#starting, workers: this.#workers.size };
  }

  /** `no_room`: the node is full, and nothing that runs on it may go or is going. */
  #start(): 'started' | 'refused' | 'no_room' {
    const { arm, codeFd, settings, startBlock, table } = this.#options;
    const startMsMax = Math.max(settings.max_execution_ms, POOL_BOUNDS.workerStartMs);
    const worker = table.start({ owner: this, codeFd, startBlock, startMsMax });
    if (worker === 'full') {
      const hasRoom = table.makeRoom('above_min') || (this.#workers.size === 0 && table.makeRoom('none'));
      return hasRoom ? 'refused' : 'no_room';
    }
    if (worker === 'refused') return 'refused';
    this.#workers.add(worker);
    this.#starting += 1;
    arm();
    return 'started';
  }

  /** On a full node a pool asks for no more workers than it has, as long as it has one, until it is used. */
  #settleForLess(): void {
    const workers = this.#workers.size;
    if (this.#starting > 0 || workers === 0) return;
    this.#floor = Math.min(this.#floor, workers);
    const detail = `the node has room for ${workers} of its workers and no more`;
    this.#endWarmings({ ok: false, code: 'worker_lost', detail });
  }

  /** A version whose workers die at their start is tried ever more rarely; with none left, nobody waits. */
  #noteFailure(fault: GuestFault): void {
    const known = this.#pause.failed(fault);
    if (this.#workers.size === 0) this.#fail(known);
    else this.#endWarmings({ ok: false, ...known });
  }

  #fail({ code, detail }: GuestFault): void {
    this.#queue.takeAll((waiting) => waiting.resolve({ kind: 'fault', code, detail, logs: null }));
    this.#endWarmings({ ok: false, code, detail });
  }

  #endLateWarmings(nowMs: number): void {
    const late = this.#warmings.filter((warming) => nowMs >= warming.deadlineMs);
    if (late.length === 0) return;
    this.#warmings = this.#warmings.filter((warming) => nowMs < warming.deadlineMs);
    const outcome = { ok: false, code: 'worker_lost', detail: 'no worker became ready in time' } as const;
    for (const warming of late) warming.resolve(outcome);
  }

  #endWarmings(outcome: WarmOutcome): void {
    const ended = this.#warmings;
    this.#warmings = [];
    for (const warming of ended) warming.resolve(outcome);
  }

  /** Lets `close` go on once nothing runs and nothing waits. */
  #checkDrained(): void {
    if (this.#phase !== 'closing' || this.#queue.length > 0) return;
    if (this.stats().busy === 0) this.#drained.resolve();
  }
}

function resolveAll(invocations: readonly Invocation[], outcome: InvocationOutcome): void {
  for (const invocation of invocations) invocation.resolve(outcome);
}
