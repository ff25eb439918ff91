// The workers of a node by their place in the ring: who has which slots, and whose turn it is to act.
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { ProcessExit } from '../ring/process_exit.ts';
import { GENERATION_MAX, WORKER_SLOTS } from '../ring/geometry.ts';
import type { Ring } from '../ring/ring.ts';
import { exitFault } from './exit.ts';
import { type LeaveCause, Worker, type WorkerEvent, type WorkerOwner } from './worker.ts';

export type WorkerStartOptions = {
  owner: WorkerOwner;
  codeFd: number;
  startBlock: Uint8Array;
  startMsMax: number;
};

/** `killed` at a deadline and `crashed` (ended by itself, or broke the protocol) count from the beginning. */
export type WorkerCounts = { workers: number; busy: number; killed: number; crashed: number };

/** Names one life of a worker: its place is used again with the next generation. */
export type WorkerName = { slot: number; generation: number };

const KILL_CAUSES: ReadonlySet<LeaveCause> = new Set(['start_late', 'late', 'recycling_late']);

const MISDEEDS: { readonly [cause in LeaveCause]?: string } = {
  broken: 'broke the protocol',
  burning: 'used the processor without a request',
  flooding: 'sent wake-ups without a reason',
  hoarding: 'filled memory that no request of it needs',
};

/** One thread, no waiting: every method returns at once, and workers tell their owners while it runs. */
export class WorkerTable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #workers: (Worker | null)[];
  readonly #generations: Uint32Array;
  readonly #freePlaces: number[] = [];
  #ring: Ring | null = null;
  #killed = 0;
  #crashed = 0;

  constructor(options: { places: number; clock: Clock; log: Log }) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#workers = new Array<Worker | null>(options.places).fill(null);
    this.#generations = new Uint32Array(options.places);
  }

  get isAttached(): boolean {
    return this.#ring !== null;
  }

  /** Uses this ring from here on. */
  attach(ring: Ring): void {
    this.#ring = ring;
    this.#freePlaces.length = 0;
    for (let place = this.#workers.length - 1; place >= 0; place -= 1) this.#freePlaces.push(place);
    this.drain();
  }

  /** The engine process is gone and every worker with it. */
  detach(): void {
    this.#ring = null;
    const lost = this.#workers.filter((worker) => worker !== null);
    this.#workers.fill(null);
    for (const worker of lost) worker.lose();
  }

  /** `full`: the node has no place for another. `refused`: the engine process takes no work at present. */
  start({ owner, codeFd, startBlock, startMsMax }: WorkerStartOptions): Worker | 'full' | 'refused' {
    const ring = this.#ring;
    if (ring === null) return 'refused';
    const place = this.#freePlaces.pop();
    if (place === undefined) return 'full';
    const slot = place * WORKER_SLOTS;
    const generation = ((this.#generations[place] ?? 0) % GENERATION_MAX) + 1;
    this.#generations[place] = generation;
    if (!ring.fork({ slot, generation, codeFd, startBlock })) {
      ring.free(slot);
      this.#freePlaces.push(place);
      return 'refused';
    }
    const startDeadlineMs = this.#clock.monotonicMs() + startMsMax;
    const deliver = (event: WorkerEvent): void => this.#deliver(event);
    const worker = new Worker({ ring, slot, generation, owner, startDeadlineMs, deliver });
    this.#workers[place] = worker;
    return worker;
  }

  /**
   * Ends the idle worker that waited longest among those that may go, unless a place comes free anyway; false
   * when none can go.
   */
  makeRoom(floor: 'above_min' | 'none'): boolean {
    let oldest: Worker | null = null;
    for (const worker of this.#workers) {
      if (worker?.state === 'ending') return true;
      if (worker?.state !== 'idle' || !worker.owner.mayEvict(floor)) continue;
      if (oldest === null || worker.idleSinceMs < oldest.idleSinceMs) oldest = worker;
    }
    oldest?.evict();
    return oldest !== null;
  }

  /** A worker sent a wake-up. One of an earlier life is ignored. */
  woke(slot: number, generation: number): void {
    const worker = this.#workers[Math.floor(slot / WORKER_SLOTS)];
    if (worker?.generation === generation) worker.woke(this.#clock.monotonicMs());
  }

  /** Takes everything that workers have reported. */
  drain(): void {
    const ring = this.#ring;
    if (ring === null) return;
    const nowMs = this.#clock.monotonicMs();
    for (let report = ring.next(); report !== null; report = ring.next()) {
      this.#find(report)?.report(report, nowMs);
    }
  }

  /**
   * Enforces deadlines and bounds, and finds what a swallowed wake-up left behind. True while a worker
   * starts, serves, dies, or makes its instance pristine.
   */
  sweep(idleMsMax: number): boolean {
    if (this.#ring === null) return false;
    this.drain();
    const nowMs = this.#clock.monotonicMs();
    let isActive = false;
    for (const worker of this.#workers) {
      if (worker !== null && worker.sweep(nowMs, idleMsMax)) isActive = true;
    }
    return isActive;
  }

  /** The zygote has forked it. */
  started(started: WorkerName & { pid: number }): void {
    this.#ring?.adopt();
    const worker = this.#find(started);
    if (worker !== null) worker.pid = started.pid;
  }

  /** The zygote has reaped it: its place may be used again. */
  exited({ exit, pid, ...name }: WorkerName & { pid: number; exit: ProcessExit }): void {
    const ring = this.#ring;
    const worker = this.#find(name);
    if (ring === null || worker === null) return;
    const { slot } = worker;
    worker.exit(this.#clock.monotonicMs(), () => {
      const { code, detail, isOurs } = exitFault(exit, ring.hints(slot).isInGuest);
      const fields = { pid, how: exit.how, value: exit.value, code };
      this.#crashed += 1;
      if (isOurs) this.#log.error('a worker could not do its part', fields);
      else this.#log.warn('a worker ended by itself', fields);
      return { code, detail };
    });
    const place = slot / WORKER_SLOTS;
    this.#workers[place] = null;
    ring.free(slot);
    this.#freePlaces.push(place);
    worker.reap();
  }

  counts(): WorkerCounts {
    const present = this.#workers.filter((worker) => worker !== null);
    const busy = present.filter((worker) => worker.state === 'busy').length;
    return { workers: present.length, busy, killed: this.#killed, crashed: this.#crashed };
  }

  #find({ slot, generation }: WorkerName): Worker | null {
    const worker = this.#workers[Math.floor(slot / WORKER_SLOTS)] ?? null;
    return worker?.generation === generation ? worker : null;
  }

  #deliver(event: WorkerEvent): void {
    if (event.kind === 'left') this.#count(event.worker, event.cause);
    event.worker.owner.take(event);
  }

  #count(worker: Worker, cause: LeaveCause): void {
    if (KILL_CAUSES.has(cause)) this.#killed += 1;
    const did = MISDEEDS[cause];
    if (did === undefined) return;
    this.#crashed += 1;
    this.#log.error(`a worker ${did} and is killed`, { pid: worker.pid });
  }
}
