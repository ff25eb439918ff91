// Which worker has which slots: starts, posts, kills, and passes on what the ring and the zygote report.
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { InvocationOutcome } from '../../model/invocation.ts';
import { readOutcome } from '../ring/answer.ts';
import { EVENT, type EngineEvent } from '../process/frames.ts';
import { WORKER_SLOTS } from '../ring/geometry.ts';
import type { Invocation } from './queue.ts';
import { createResponseHeadDecoder, type ResponseHeadDecoder } from '../ring/response_head.ts';
import { exitFault, type Fault, SLOT, startFault } from '../ring/results.ts';
import { type PostOutcome, type Ring, TAKEN } from '../ring/ring.ts';
import type { Worker, WorkerOwner } from './worker.ts';

export type StartOptions = { owner: WorkerOwner; codeFd: number; startBlock: Uint8Array; startMsMax: number };

export type RosterStats = { workers: number; busy: number; killed: number; crashed: number };

const GENERATION_MAX = 0xff_ffff;
const HINT_RECYCLING = 0x100;
const PHASE_MASK = 0xff;
const ALL_SLOTS = 2 ** WORKER_SLOTS - 1;
/** Looks without an answer after which a worker is one that lasts. */
const STUCK_LOOKS = 2;
/** The same, after which it may be one that the kernel gives no time. */
const STARVED_LOOKS = 11;
const LATE: Fault = { code: 'execution_timeout', detail: null };

/** One thread, no waiting: every method returns at once. Without a ring nothing can be started or posted. */
export class Roster {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #workers: (Worker | null)[];
  readonly #generations: Uint32Array;
  readonly #free: number[] = [];
  readonly #decodeHead: ResponseHeadDecoder = createResponseHeadDecoder();
  #ring: Ring | null = null;
  #killed = 0;
  #crashed = 0;
  #busy = 0;

  constructor(options: { workers: number; clock: Clock; log: Log }) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#workers = new Array<Worker | null>(options.workers).fill(null);
    this.#generations = new Uint32Array(options.workers);
  }

  get isAttached(): boolean {
    return this.#ring !== null;
  }

  attach(ring: Ring): void {
    this.#ring = ring;
    this.#free.length = 0;
    for (let place = this.#workers.length - 1; place >= 0; place -= 1) this.#free.push(place);
    ring.drain();
  }

  /** The engine process is gone and every worker with it. */
  detach(): void {
    this.#ring = null;
    for (const [place, worker] of this.#workers.entries()) {
      if (worker === null) continue;
      this.#workers[place] = null;
      if (worker.state === 'busy') this.#busy -= 1;
      worker.owner.onLost(worker);
    }
  }

  /**
   * `full`: the node has no place for another. `refused`: the engine process takes no work now, or the start
   * block is too large.
   */
  start(options: StartOptions): Worker | 'full' | 'refused' {
    const ring = this.#ring;
    if (ring === null) return 'refused';
    const place = this.#free.pop();
    if (place === undefined) return 'full';
    const slot = place * WORKER_SLOTS;
    const generation = ((this.#generations[place] ?? 0) % GENERATION_MAX) + 1;
    this.#generations[place] = generation;
    if (!ring.fork({ slot, generation, codeFd: options.codeFd, startBlock: options.startBlock })) {
      ring.free(slot);
      this.#free.push(place);
      return 'refused';
    }
    const nowMs = this.#clock.monotonicMs();
    const worker: Worker = {
      slot,
      generation,
      owner: options.owner,
      pid: 0,
      state: 'starting',
      sinceMs: nowMs,
      deadlineMs: nowMs + options.startMsMax,
      given: [],
      freeSlots: ALL_SLOTS,
      looks: 0,
      isStuck: false,
      served: 0,
      isRecycling: false,
      hasExited: false,
    };
    this.#workers[place] = worker;
    return worker;
  }

  /** Gives an invocation to a worker that has a free slot; it is busy when the answer is `posted`. */
  post(worker: Worker, invocation: Invocation): PostOutcome {
    const ring = this.#ring;
    if (ring === null) return 'lost';
    const bit = worker.freeSlots & -worker.freeSlots;
    const slot = worker.slot + 31 - Math.clz32(bit);
    const posted = ring.post(slot, worker.generation, invocation.request);
    if (posted !== 'posted') return posted;
    worker.freeSlots ^= bit;
    invocation.slot = slot;
    worker.given.push(invocation);
    if (worker.state === 'busy') return posted;
    worker.state = 'busy';
    worker.looks = 0;
    this.#busy += 1;
    return posted;
  }

  end(worker: Worker): void {
    if (worker.state === 'busy') this.#busy -= 1;
    worker.state = 'ending';
    this.#ring?.kill(worker.slot, worker.generation);
  }

  /** Makes room for a pool by ending the idle worker that has waited longest; false when none can go. */
  evict(count: 'above_min' | 'last'): boolean {
    let oldest: Worker | null = null;
    for (const worker of this.#workers) {
      if (worker?.state === 'ending') return true;
      if (worker === null || worker.state !== 'idle' || !worker.owner.spares(count)) continue;
      if (oldest === null || worker.sinceMs < oldest.sinceMs) oldest = worker;
    }
    if (oldest === null) return false;
    this.#evict(oldest);
    return true;
  }

  /** Something may be finished: takes all of it. */
  drain(): void {
    const ring = this.#ring;
    if (ring === null) return;
    const nowMs = this.#clock.monotonicMs();
    for (;;) {
      const end = ring.drain() * TAKEN.words;
      for (let at = 0; at < end; at += TAKEN.words) this.#take(ring, at, nowMs);
      if (end < ring.taken.length) return;
    }
  }

  onEvent(event: EngineEvent): void {
    const worker = this.#workers[event.slot / WORKER_SLOTS];
    const ring = this.#ring;
    if (ring === null || worker === undefined || worker === null || worker.generation !== event.generation)
      return;
    if (event.kind === EVENT.started) worker.pid = event.pid;
    if (event.kind === EVENT.exited) this.#reap(ring, worker, event);
  }

  /**
   * Kills what is late, and looks at every slot: a wake-up that a hostile worker swallowed only delays an
   * answer until here. True while anything is under way.
   */
  sweep(idleMsMax: number): boolean {
    const ring = this.#ring;
    if (ring === null) return false;
    this.drain();
    const nowMs = this.#clock.monotonicMs();
    let isActive = false;
    for (const worker of this.#workers) {
      if (worker === null) continue;
      if (worker.state === 'idle') {
        isActive = this.#sweepIdle(ring, worker, nowMs, idleMsMax) || isActive;
        continue;
      }
      isActive = true;
      if (worker.state === 'busy') this.#sweepBusy(ring, worker, nowMs);
      else if (worker.state === 'starting') this.#sweepStarting(ring, worker, nowMs);
    }
    return isActive;
  }

  stats(): RosterStats {
    const workers = this.#workers.reduce((sum, worker) => sum + (worker === null ? 0 : 1), 0);
    return { workers, busy: this.#busy, killed: this.#killed, crashed: this.#crashed };
  }

  #sweepStarting(ring: Ring, worker: Worker, nowMs: number): void {
    if (ring.look(worker.slot, worker.generation)) return this.#take(ring, 0, nowMs);
    if (nowMs < worker.deadlineMs) return;
    this.#killed += 1;
    worker.owner.onStartFailed(worker, LATE);
    this.end(worker);
  }

  /**
   * A worker that has answered nothing between two looks gives up what waits behind its first, and much later
   * that too, if it has not begun it and another idles: it may be that the kernel gives this one no time.
   */
  #sweepBusy(ring: Ring, worker: Worker, nowMs: number): void {
    this.#lookAtGiven(ring, worker, nowMs);
    const first = worker.given[0];
    if (first === undefined || worker.state !== 'busy') return;
    if (nowMs >= first.deadlineMs) return this.#late(ring, worker, nowMs);
    worker.looks += 1;
    if (worker.looks < STUCK_LOOKS) return;
    const isStarved = worker.looks >= STARVED_LOOKS && !first.hasMoved && worker.owner.hasIdle();
    if (isStarved) first.hasMoved = true;
    this.#withdraw(ring, worker, isStarved ? 'all' : 'others');
  }

  /** Its first invocation is late. What it has not begun, and what ends just now, is no reason to kill it. */
  #late(ring: Ring, worker: Worker, nowMs: number): void {
    const first = worker.given[0];
    this.#withdraw(ring, worker, 'others');
    this.#lookAtGiven(ring, worker, nowMs);
    if (worker.given[0] !== first) return;
    this.#killed += 1;
    this.#kill(worker, { kind: 'fault', ...LATE, logs: null });
  }

  #lookAtGiven(ring: Ring, worker: Worker, nowMs: number): void {
    for (const { slot } of worker.given.slice()) {
      if (ring.look(slot, worker.generation)) this.#take(ring, 0, nowMs);
    }
  }

  /**
   * Takes back what it has not begun. With `others` the first stays when it has begun none: that one it must
   * answer, or die of.
   */
  #withdraw(ring: Ring, worker: Worker, which: 'all' | 'others'): void {
    const { given, generation, slot } = worker;
    const [first, ...others] = given;
    worker.isStuck = true;
    if (first === undefined) return;
    const canGo = (invocation: Invocation): boolean => ring.withdraw(invocation.slot, generation);
    const gone = others.filter(canGo);
    if ((which === 'all' || gone.length < others.length) && canGo(first)) gone.unshift(first);
    if (gone.length === 0) return;
    given.splice(0, given.length, ...given.filter((invocation) => !gone.includes(invocation)));
    for (const invocation of gone) worker.freeSlots |= 1 << (invocation.slot - slot);
    if (given.length === 0 && !worker.hasExited) this.#rest(worker, this.#clock.monotonicMs());
    worker.owner.onWithdrawn(worker, gone);
  }

  /** It has nothing to answer any more. */
  #rest(worker: Worker, nowMs: number): void {
    this.#busy -= 1;
    worker.state = 'idle';
    worker.sinceMs = nowMs;
    worker.isRecycling = true;
    worker.isStuck = false;
  }

  /** `outcome` is that of everything it still has. */
  #kill(worker: Worker, outcome: InvocationOutcome): void {
    worker.owner.onKilled(worker, outcome);
    this.end(worker);
  }

  #evict(worker: Worker): void {
    worker.owner.onEvicted(worker);
    this.end(worker);
  }

  #sweepIdle(ring: Ring, worker: Worker, nowMs: number, idleMsMax: number): boolean {
    const idleMs = nowMs - worker.sinceMs;
    if (worker.isRecycling) {
      worker.isRecycling = (ring.hints(worker.slot) & HINT_RECYCLING) !== 0;
      if (!worker.isRecycling || idleMs <= worker.owner.recyclingMsMax) return worker.isRecycling;
      this.#killed += 1;
      this.#evict(worker);
      return true;
    }
    if (idleMs <= idleMsMax || !worker.owner.spares('above_min')) return false;
    this.#evict(worker);
    return true;
  }

  /** Acts on one record; a record that is not of a worker of now, or not of its state, is nobody's. */
  #take(ring: Ring, at: number, nowMs: number): void {
    const slot = ring.taken[at + TAKEN.slot] ?? 0;
    const worker = this.#workers[Math.floor(slot / WORKER_SLOTS)];
    if (worker === undefined || worker === null || worker.generation !== ring.taken[at + TAKEN.generation])
      return;
    const state = ring.taken[at + TAKEN.state];
    if (worker.state === 'busy' && state === SLOT.done) {
      const invocation = worker.given.find((one) => one.slot === slot);
      if (invocation !== undefined) this.#takeAnswer(ring, { worker, invocation }, at, nowMs);
    } else if (worker.state === 'starting' && state === SLOT.ready) {
      worker.sinceMs = nowMs;
      worker.state = 'idle';
      worker.owner.onReady(worker);
    } else if (worker.state === 'starting' && state === SLOT.failed) {
      const result = ring.taken[at + TAKEN.result] ?? 0;
      worker.owner.onStartFailed(worker, startFault(result, ring.takenSigned[at + TAKEN.detail] ?? 0));
      this.end(worker);
    }
  }

  #takeAnswer(
    ring: Ring,
    { worker, invocation }: { worker: Worker; invocation: Invocation },
    at: number,
    nowMs: number,
  ): void {
    if (ring.taken[at + TAKEN.isValid] !== 1) {
      this.#log.error('a worker broke the protocol and is ended', { pid: worker.pid });
      this.#crashed += 1;
      this.#withdraw(ring, worker, 'others');
      this.#kill(worker, { kind: 'fault', code: 'guest_crashed', detail: null, logs: null });
      return;
    }
    const cpuUs = ring.taken[at + TAKEN.cpuUs] ?? 0;
    const outcome = readOutcome(ring, at, this.#decodeHead);
    ring.release(invocation.slot, worker.generation);
    worker.given.splice(worker.given.indexOf(invocation), 1);
    worker.freeSlots |= 1 << (invocation.slot - worker.slot);
    worker.served += 1;
    worker.looks = 0;
    worker.isStuck = false;
    if (worker.given.length === 0) this.#rest(worker, nowMs);
    worker.owner.onAnswer(worker, invocation, outcome, cpuUs);
  }

  #reap(ring: Ring, worker: Worker, event: EngineEvent): void {
    worker.hasExited = true;
    const nowMs = this.#clock.monotonicMs();
    if (worker.state === 'busy') this.#lookAtGiven(ring, worker, nowMs);
    else if (worker.state === 'starting' && ring.look(worker.slot, worker.generation))
      this.#take(ring, 0, nowMs);
    if (worker.state === 'busy') this.#withdraw(ring, worker, 'all');
    const phase = ring.hints(worker.slot) & PHASE_MASK;
    const fault = worker.state === 'ending' ? null : exitFault({ how: event.how, value: event.value, phase });
    if (worker.state === 'busy') this.#busy -= 1;
    if (fault !== null) {
      this.#crashed += 1;
      const fields = { pid: event.pid, how: event.how, value: event.value, code: fault.code };
      if (fault.isOurs) this.#log.error('a worker could not do its part', fields);
      else this.#log.warn('a worker ended by itself', fields);
    }
    const place = worker.slot / WORKER_SLOTS;
    this.#workers[place] = null;
    ring.free(worker.slot);
    this.#free.push(place);
    worker.owner.onGone(worker, fault);
  }
}
