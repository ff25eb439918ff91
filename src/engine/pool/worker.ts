// One worker from its fork to its end: each change of its state is made here and is one event for its pool.
import { POOL_TUNING } from '../../base/limits/pool.ts';
import type { GuestFault, InvocationOutcome } from '../../model/invocation.ts';
import { withLastLines } from './exit.ts';
import { createIdleWatch } from './idle_watch.ts';
import { WORKER_SLOTS } from '../ring/geometry.ts';
import type { PostOutcome, Ring, RingEvent } from '../ring/ring.ts';
import type { Invocation } from './queue.ts';

/** `ending`: it left its pool and is being killed, or has ended; its slots are free once it is reaped. */
export type WorkerState = 'starting' | 'idle' | 'busy' | 'ending';

/**
 * Why a worker left its pool. `start_failed`: it said so. `start_late`, `late`, `recycling_late`: its start,
 * its request, or making its instance pristine took too long. `broken`: it lied about a length. `burning`: it
 * used the processor without anything to do. `flooding`: it sent wake-ups without anything to report.
 * `hoarding`: it filled memory that none of its requests needs.
 * `evicted`: it was idle, and its place was needed or nobody needed it. `exited`: it ended by itself. `lost`:
 * the engine process died.
 */
export type LeaveCause =
  | 'start_failed'
  | 'start_late'
  | 'late'
  | 'recycling_late'
  | 'broken'
  | 'burning'
  | 'flooding'
  | 'hoarding'
  | 'evicted'
  | 'exited'
  | 'lost';

/**
 * What a worker tells its pool, in the order in which it happens. A worker that was started leaves once and,
 * unless its engine process died, is reaped once after that.
 */
export type WorkerEvent = { worker: Worker } & (
  | { kind: 'ready' }
  /** `cpuUs` is the processor time that the worker says the request took. */
  | { kind: 'answered'; invocation: Invocation; outcome: InvocationOutcome; cpuUs: number }
  /** It has not begun these, in this order, and will not. */
  | { kind: 'returned'; invocations: readonly Invocation[] }
  /**
   * The invocations of `ended` had begun, or cannot be told from those that have. `fault` is why it could not
   * start, with the last lines that its start has logged, or why it ended by itself; else null.
   */
  | {
      kind: 'left';
      cause: LeaveCause;
      from: WorkerState;
      fault: GuestFault | null;
      ended: readonly { invocation: Invocation; outcome: InvocationOutcome }[];
    }
  /** Its place may be used again. */
  | { kind: 'reaped' }
);

/** The pool of a worker. */
export type WorkerOwner = {
  /** How long an idle worker may take to make its instance pristine. */
  readonly recyclingMsMax: number;
  take(event: WorkerEvent): void;
  /** Whether another worker could begin a request at once. */
  hasIdle(): boolean;
  /** Whether an idle worker may go; with `none` also the last ones of the minimum. */
  mayEvict(floor: 'above_min' | 'none'): boolean;
};

/** Sweeps without an answer before a worker's backlog is taken back. */
const STUCK_SWEEPS = 2;
/** Sweeps without an answer before the kernel may be giving a worker no time. */
const STARVED_SWEEPS = 11;
const ALL_SLOTS = 2 ** WORKER_SLOTS - 1;

const START_LATE: GuestFault = { code: 'execution_timeout', detail: 'its start took too long' };
const LATE: GuestFault = { code: 'execution_timeout', detail: null };
const CRASHED: GuestFault = { code: 'guest_crashed', detail: null };
const RESTARTING: InvocationOutcome = { kind: 'unavailable', code: 'engine_restarting' };

export type WorkerOptions = {
  /** Of the engine process that forks it. */
  ring: Ring;
  slot: number;
  generation: number;
  owner: WorkerOwner;
  startDeadlineMs: number;
  /** Hands an event to the owner; every change is complete before it is called. */
  deliver: (event: WorkerEvent) => void;
};

/** Times are monotonic milliseconds. */
export class Worker {
  /** The first of its slots. */
  readonly slot: number;
  readonly generation: number;
  readonly owner: WorkerOwner;
  /** Resolves once it is reaped or its engine process died. */
  readonly ended: Promise<void>;
  pid = 0;
  readonly #ring: Ring;
  readonly #startDeadlineMs: number;
  readonly #deliver: (event: WorkerEvent) => void;
  readonly #resolveEnded: () => void;
  /** What it has to answer, oldest first: it serves one, the others wait in their slots. */
  readonly #backlog: Invocation[] = [];
  #state: WorkerState = 'starting';
  #idleSinceMs = 0;
  /** A bit for each slot without an invocation. */
  #freeSlots = ALL_SLOTS;
  /** Sweeps since it became busy or answered. */
  #sweeps = 0;
  /** Its backlog was taken back; it gets nothing until it has answered. */
  #isStuck = false;
  /** It may still be making its instance pristine after the last request. */
  #isRecycling = false;
  /** Wake-ups that it sent, less what it reported; an honest worker has a report for each. */
  #wakesAhead = 0;
  readonly #watch = createIdleWatch();
  #isKilled = false;
  #hasExited = false;
  #hasAnswered = false;

  constructor(options: WorkerOptions) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.slot = options.slot;
    this.generation = options.generation;
    this.owner = options.owner;
    this.ended = promise;
    this.#ring = options.ring;
    this.#startDeadlineMs = options.startDeadlineMs;
    this.#deliver = options.deliver;
    this.#resolveEnded = resolve;
  }

  get state(): WorkerState {
    return this.#state;
  }

  get idleSinceMs(): number {
    return this.#idleSinceMs;
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  get backlogLength(): number {
    return this.#backlog.length;
  }

  /** Whether another request may wait behind the one that it serves. */
  get takesBacklog(): boolean {
    return this.#state === 'busy' && !this.#isStuck && !this.#hasExited && this.#freeSlots !== 0;
  }

  /** Gives it a request, which makes it busy when the outcome is `posted`; it must have a free slot. */
  post(invocation: Invocation): PostOutcome {
    const bit = this.#freeSlots & -this.#freeSlots;
    const slot = this.slot + 31 - Math.clz32(bit);
    const posted = this.#ring.post(slot, this.generation, invocation.request);
    if (posted !== 'posted') return posted;
    this.#freeSlots ^= bit;
    invocation.slot = slot;
    this.#backlog.push(invocation);
    if (this.#state === 'busy') return posted;
    this.#state = 'busy';
    this.#sweeps = 0;
    return posted;
  }

  /** It sent a wake-up. One that sends more than it has to report is killed. */
  woke(nowMs: number): void {
    this.#wakesAhead += 1;
    if (this.#wakesAhead > POOL_TUNING.wakesAheadMax) this.#expose('flooding', nowMs);
  }

  /** Acts on what it reports; a report that does not fit its state is ignored. */
  report(event: RingEvent, nowMs: number): void {
    if (this.#wakesAhead > -POOL_TUNING.wakesAheadMax) this.#wakesAhead -= 1;
    if (this.#state === 'busy') {
      const at = this.#indexOf(event.slot);
      if (at < 0) return;
      if (event.kind === 'answer') this.#answer(at, event.outcome, event.cpuUs, nowMs);
      else if (event.kind === 'broken') this.#expose('broken', nowMs);
    } else if (this.#state === 'starting') {
      if (event.kind === 'ready') this.#ready(nowMs);
      else if (event.kind === 'start_failed') this.#leave('start_failed', event.fault, event.fault);
    }
  }

  /**
   * Enforces its deadlines, and finds what it reported without a wake-up. A worker that answers nothing for
   * `STUCK_SWEEPS` gives up its backlog; after `STARVED_SWEEPS` also its first request, once, if it has not
   * begun it and another worker idles. One that is ending is killed until that has worked. False where it
   * needs no further sweep: it is idle and pristine.
   */
  sweep(nowMs: number, idleMsMax: number): boolean {
    const isActive = this.#state !== 'idle' || this.#isRecycling;
    const seen = this.#watch.sweep(nowMs, isActive, this.#readings);
    if (seen !== null) this.#expose(seen, nowMs);
    if (this.#state === 'idle') return this.#sweepIdle(nowMs, idleMsMax);
    if (this.#state === 'starting') this.#sweepStarting(nowMs);
    else if (this.#state === 'busy') this.#sweepBusy(nowMs);
    else this.#signal();
    return true;
  }

  /** Makes room for another pool; only for an idle worker. */
  evict(): void {
    this.#leave('evicted', null, CRASHED);
  }

  /**
   * Its process is gone: what it had finished is answered, what it has not begun runs elsewhere. `faultOf`
   * says why it ended and is asked only where it was not killed.
   */
  exit(nowMs: number, faultOf: () => GuestFault): void {
    this.#hasExited = true;
    if (this.#state === 'busy' || this.#state === 'starting') this.#poll(nowMs);
    if (this.#state === 'busy') this.#withdraw('all', nowMs);
    if (this.#state === 'ending') return;
    const fault = faultOf();
    this.#leave('exited', fault, fault);
  }

  /** Its place is free. */
  reap(): void {
    this.#resolveEnded();
    this.#deliver({ kind: 'reaped', worker: this });
  }

  /** Its engine process died, and it with that. */
  lose(): void {
    this.#hasExited = true;
    this.#resolveEnded();
    if (this.#state !== 'ending') this.#leaveWith('lost', null, RESTARTING);
  }

  /** Kills it on behalf of its pool, which gets no `left` for it; returns what it had to answer. */
  kill(): Invocation[] {
    this.#state = 'ending';
    this.#signal();
    return this.#backlog.splice(0);
  }

  /** The zygote may not have forked it yet, or take no command: then the next sweep tries again. */
  #signal(): void {
    if (!this.#hasExited && !this.#isKilled) this.#isKilled = this.#ring.kill(this.slot, this.generation);
  }

  #ready(nowMs: number): void {
    this.#state = 'idle';
    this.#idleSinceMs = nowMs;
    this.#deliver({ kind: 'ready', worker: this });
  }

  /** Where in the backlog the request of this slot is; -1 where the slot has none. */
  #indexOf(slot: number): number {
    for (let at = 0; at < this.#backlog.length; at += 1) if (this.#backlog[at]?.slot === slot) return at;
    return -1;
  }

  #answer(at: number, outcome: InvocationOutcome, cpuUs: number, nowMs: number): void {
    const invocation = at === 0 ? this.#backlog.shift() : this.#backlog.splice(at, 1)[0];
    if (invocation === undefined) return;
    this.#freeSlots |= 1 << (invocation.slot - this.slot);
    this.#hasAnswered = true;
    this.#sweeps = 0;
    this.#isStuck = false;
    if (this.#backlog.length === 0) this.#rest(nowMs);
    this.#deliver({ kind: 'answered', worker: this, invocation, outcome, cpuUs });
  }

  /** It does what no worker of ours does. What it has not begun runs elsewhere. */
  #expose(cause: 'broken' | 'burning' | 'flooding' | 'hoarding', nowMs: number): void {
    if (this.#state === 'ending') return;
    this.#withdraw('others', nowMs);
    this.#leave(cause, null, CRASHED);
  }

  readonly #readings = {
    cpuMs: (): number | null => (this.pid === 0 ? null : this.#ring.cpuMs(this.pid)),
    hoards: (): boolean => !this.#hasExited && this.#ring.hoards(this.slot),
  };

  #sweepStarting(nowMs: number): void {
    this.#poll(nowMs);
    if (this.#state !== 'starting' || nowMs < this.#startDeadlineMs) return;
    this.#leave('start_late', START_LATE, START_LATE);
  }

  #sweepBusy(nowMs: number): void {
    this.#poll(nowMs);
    const [first] = this.#backlog;
    if (first === undefined || this.#state !== 'busy') return;
    if (nowMs >= first.deadlineMs) return this.#late(first, nowMs);
    this.#sweeps += 1;
    if (this.#sweeps < STUCK_SWEEPS) return;
    const isStarved = this.#sweeps >= STARVED_SWEEPS && !first.hasMoved && this.owner.hasIdle();
    if (isStarved) first.hasMoved = true;
    this.#withdraw(isStarved ? 'all' : 'others', nowMs);
  }

  /** What it has not begun, and what it finishes at this moment, is no reason to kill it. */
  #late(first: Invocation, nowMs: number): void {
    this.#withdraw('others', nowMs);
    this.#poll(nowMs);
    if (this.#backlog[0] === first && this.#state === 'busy') this.#leave('late', null, LATE);
  }

  #sweepIdle(nowMs: number, idleMsMax: number): boolean {
    const idleMs = nowMs - this.#idleSinceMs;
    if (this.#isRecycling) {
      this.#isRecycling = this.#ring.hints(this.slot).isRecycling;
      if (this.#isRecycling && idleMs > this.owner.recyclingMsMax)
        this.#leave('recycling_late', null, CRASHED);
      return this.#isRecycling;
    }
    if (idleMs <= idleMsMax || !this.owner.mayEvict('above_min')) return false;
    this.evict();
    return true;
  }

  /** What it reported in its slots, also where it woke nobody. */
  #poll(nowMs: number): void {
    const slots = this.#state === 'starting' ? [this.slot] : this.#backlog.map(({ slot }) => slot);
    for (const slot of slots) {
      const event = this.#ring.poll(slot, this.generation);
      if (event !== null) this.report(event, nowMs);
    }
  }

  /** With `others` its first stays when it has begun none: that one it must answer, or die of. */
  #withdraw(which: 'all' | 'others', nowMs: number): void {
    const [first, ...others] = this.#backlog;
    this.#isStuck = true;
    if (first === undefined) return;
    const isBack = ({ slot }: Invocation): boolean => this.#ring.withdraw(slot, this.generation);
    const invocations = others.filter(isBack);
    if ((which === 'all' || invocations.length < others.length) && isBack(first)) invocations.unshift(first);
    if (invocations.length === 0) return;
    const rest = this.#backlog.filter((invocation) => !invocations.includes(invocation));
    this.#backlog.splice(0, this.#backlog.length, ...rest);
    for (const { slot } of invocations) this.#freeSlots |= 1 << (slot - this.slot);
    if (rest.length === 0 && !this.#hasExited) this.#rest(nowMs);
    this.#deliver({ kind: 'returned', worker: this, invocations });
  }

  /** It has nothing to answer any more. */
  #rest(nowMs: number): void {
    this.#state = 'idle';
    this.#idleSinceMs = nowMs;
    this.#isRecycling = true;
    this.#isStuck = false;
  }

  #leave(cause: LeaveCause, fault: GuestFault | null, { code, detail }: GuestFault): void {
    this.#leaveWith(cause, fault, { kind: 'fault', code, detail, logs: null });
  }

  /** Its pool forgets it before it is killed: the place comes free only once it is reaped. */
  #leaveWith(cause: LeaveCause, fault: GuestFault | null, outcome: InvocationOutcome): void {
    const from = this.#state;
    const isReadable = from === 'starting' && cause !== 'lost';
    // What its start has logged stays readable until it is reaped, and nothing else would show it.
    const logs = isReadable ? this.#ring.logs(this.slot, this.generation) : null;
    const ended = this.kill().map((invocation) => ({
      invocation,
      outcome: this.#withLogs(outcome, invocation.slot),
    }));
    const explained = fault === null ? null : withLastLines(fault, logs);
    this.#deliver({ kind: 'left', worker: this, cause, from, fault: explained, ended });
  }

  /** What the guest logged in this slot stays readable until the worker is reaped. */
  #withLogs(outcome: InvocationOutcome, slot: number): InvocationOutcome {
    if (outcome.kind !== 'fault') return outcome;
    return { ...outcome, logs: this.#ring.logs(slot, this.generation) };
  }
}
