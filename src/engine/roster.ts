// Which worker sits in which slot: starts, posts, kills, and passes on what the ring and the zygote report.
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { InvocationRequest } from '../model/invocation.ts';
import { readOutcome } from './answer.ts';
import { EVENT, type EngineEvent } from './frames.ts';
import { createResponseHeadDecoder, type ResponseHeadDecoder } from './response_head.ts';
import { exitFault, type Fault, SLOT, startFault } from './results.ts';
import { type PostOutcome, type Ring, TAKEN } from './ring.ts';
import type { Worker, WorkerOwner } from './worker.ts';

export type StartOptions = { owner: WorkerOwner; codeFd: number; startBlock: Uint8Array; startMsMax: number };

export type RosterStats = { workers: number; busy: number; killed: number; crashed: number };

const GENERATION_MAX = 0xff_ffff;
const HINT_RECYCLING = 0x100;
const PHASE_MASK = 0xff;
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

  constructor(options: { slots: number; clock: Clock; log: Log }) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#workers = new Array<Worker | null>(options.slots).fill(null);
    this.#generations = new Uint32Array(options.slots);
  }

  get isAttached(): boolean {
    return this.#ring !== null;
  }

  attach(ring: Ring): void {
    this.#ring = ring;
    this.#free.length = 0;
    for (let slot = this.#workers.length - 1; slot >= 0; slot -= 1) this.#free.push(slot);
    ring.drain();
  }

  /** The engine process is gone and every worker with it. */
  detach(): void {
    this.#ring = null;
    for (const [slot, worker] of this.#workers.entries()) {
      if (worker === null) continue;
      this.#workers[slot] = null;
      if (worker.state === 'busy') this.#busy -= 1;
      worker.owner.onLost(worker);
    }
  }

  /**
   * `full`: no slot is free. `refused`: the engine process takes no work now, or the start block is too
   * large.
   */
  start(options: StartOptions): Worker | 'full' | 'refused' {
    const ring = this.#ring;
    if (ring === null) return 'refused';
    const slot = this.#free.pop();
    if (slot === undefined) return 'full';
    const generation = ((this.#generations[slot] ?? 0) % GENERATION_MAX) + 1;
    this.#generations[slot] = generation;
    if (!ring.fork({ slot, generation, codeFd: options.codeFd, startBlock: options.startBlock })) {
      ring.free(slot);
      this.#free.push(slot);
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
      served: 0,
      isRecycling: false,
      hasExited: false,
      resolve: null,
    };
    this.#workers[slot] = worker;
    return worker;
  }

  /** Gives an idle worker a request; it is busy when the answer is `posted`. */
  post(worker: Worker, request: InvocationRequest): PostOutcome {
    const ring = this.#ring;
    if (ring === null) return 'lost';
    const posted = ring.post(worker.slot, worker.generation, request);
    if (posted !== 'posted') return posted;
    worker.state = 'busy';
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
    const count = ring.drain();
    for (let at = 0; at < count * TAKEN.words; at += TAKEN.words) this.#take(ring, at, nowMs);
  }

  onEvent(event: EngineEvent): void {
    const worker = this.#workers[event.slot];
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
      if (worker.state === 'ending') continue;
      if (ring.look(worker.slot, worker.generation)) this.#take(ring, 0, nowMs);
      else if (nowMs >= worker.deadlineMs) this.#late(worker);
    }
    return isActive;
  }

  stats(): RosterStats {
    const workers = this.#workers.reduce((sum, worker) => sum + (worker === null ? 0 : 1), 0);
    return { workers, busy: this.#busy, killed: this.#killed, crashed: this.#crashed };
  }

  #late(worker: Worker): void {
    this.#killed += 1;
    if (worker.state === 'starting') worker.owner.onStartFailed(worker, LATE);
    else worker.owner.onKilled(worker, { kind: 'fault', ...LATE, logs: null });
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
    const worker = this.#workers[ring.taken[at + TAKEN.slot] ?? 0];
    if (worker === undefined || worker === null || worker.generation !== ring.taken[at + TAKEN.generation])
      return;
    const state = ring.taken[at + TAKEN.state];
    if (worker.state === 'busy' && state === SLOT.done) this.#takeAnswer(ring, worker, at, nowMs);
    else if (worker.state === 'starting' && state === SLOT.ready) {
      worker.sinceMs = nowMs;
      worker.state = 'idle';
      worker.owner.onReady(worker);
    } else if (worker.state === 'starting' && state === SLOT.failed) {
      const result = ring.taken[at + TAKEN.result] ?? 0;
      worker.owner.onStartFailed(worker, startFault(result, ring.takenSigned[at + TAKEN.detail] ?? 0));
      this.end(worker);
    }
  }

  #takeAnswer(ring: Ring, worker: Worker, at: number, nowMs: number): void {
    if (ring.taken[at + TAKEN.isValid] !== 1) {
      this.#log.error('a worker broke the protocol and is ended', { pid: worker.pid });
      this.#crashed += 1;
      worker.owner.onKilled(worker, { kind: 'fault', code: 'guest_crashed', detail: null, logs: null });
      this.end(worker);
      return;
    }
    const outcome = readOutcome(ring, at, this.#decodeHead);
    ring.release(worker.slot, worker.generation);
    this.#busy -= 1;
    worker.state = 'idle';
    worker.served += 1;
    worker.sinceMs = nowMs;
    worker.isRecycling = true;
    worker.owner.onAnswer(worker, outcome);
  }

  #reap(ring: Ring, worker: Worker, event: EngineEvent): void {
    worker.hasExited = true;
    if (ring.look(worker.slot, worker.generation)) this.#take(ring, 0, this.#clock.monotonicMs());
    const phase = ring.hints(worker.slot) & PHASE_MASK;
    const fault = worker.state === 'ending' ? null : exitFault({ how: event.how, value: event.value, phase });
    if (worker.state === 'busy') this.#busy -= 1;
    if (fault !== null) {
      this.#crashed += 1;
      const fields = { pid: event.pid, how: event.how, value: event.value, code: fault.code };
      if (fault.isOurs) this.#log.error('a worker could not do its part', fields);
      else this.#log.warn('a worker ended by itself', fields);
    }
    this.#workers[worker.slot] = null;
    ring.free(worker.slot);
    this.#free.push(worker.slot);
    worker.owner.onGone(worker, fault);
  }
}
