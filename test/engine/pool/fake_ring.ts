// A ring whose workers do what a test tells them, so that rules of pool and roster are tried without
// processes.
import type { InvocationRequest } from '../../../src/model/invocation.ts';
import { WORKER_SLOTS } from '../../../src/engine/ring/geometry.ts';
import { SLOT } from '../../../src/engine/ring/results.ts';
import { type PostOutcome, type Ring, TAKEN } from '../../../src/engine/ring/ring.ts';

type Report = {
  slot: number;
  generation: number;
  state: number;
  result: number;
  detail: number;
  isValid: boolean;
  cpuUs: number;
};

export type FakeRing = Ring & {
  /**
   * Forks, kills, posts and withdrawals so far, in order: `fork 0:1`, `kill 0:1`, `post 0:1 /path`,
   * `withdraw 0:1`. Workers are numbered from 0 by place, whatever slots they have.
   */
  readonly calls: string[];
  /** Workers that are forked and not freed, with their generation. */
  readonly alive: Map<number, number>;
  /** Slots with a request, by worker, oldest first. */
  readonly posted: Map<number, number[]>;
  /** Whether a worker has begun the request in this slot of `slots`: the oldest unless a test says so. */
  hasBegun: (slot: number, slots: readonly number[]) => boolean;
  hintsOf: number;
  postOutcome: PostOutcome;
  takesForks: boolean;
  /** A worker reports on what it serves; with `wake: 'lost'` only a look finds it. */
  report(place: number, report?: Partial<Report>, wake?: 'seen' | 'lost'): void;
  ready(place: number): void;
  answer(place: number, cpuUs?: number): void;
};

function writeRecord(taken: Uint32Array, at: number, report: Report): void {
  taken.fill(0, at, at + TAKEN.words);
  taken[at + TAKEN.slot] = report.slot;
  taken[at + TAKEN.generation] = report.generation;
  taken[at + TAKEN.state] = report.state;
  taken[at + TAKEN.result] = report.result;
  taken[at + TAKEN.detail] = report.detail;
  taken[at + TAKEN.status] = 200;
  taken[at + TAKEN.cpuUs] = report.cpuUs;
  taken[at + TAKEN.isValid] = report.isValid ? 1 : 0;
}

const placeOf = (slot: number): number => Math.floor(slot / WORKER_SLOTS);

/** What no rule of pool or roster depends on. */
const NOTHING = {
  openCommand: () => -1,
  closeCommand: () => undefined,
  closeFd: () => undefined,
  compile: () => false,
  cancelCompile: () => undefined,
  responseHead: () => 'a: b\r\n',
  responseBody: () => new Uint8Array(1),
  log: () => new Uint8Array(0),
  release: () => undefined,
  close: () => undefined,
};

export function createFakeRing(workers: number): FakeRing {
  const taken = new Uint32Array((workers * WORKER_SLOTS + 1) * TAKEN.words);
  const calls: string[] = [];
  const alive = new Map<number, number>();
  const posted = new Map<number, number[]>();
  let seen: Report[] = [];
  let lost: Report[] = [];
  const ring: FakeRing = {
    calls,
    alive,
    posted,
    hasBegun: (slot, slots) => slot === slots[0],
    hintsOf: 0,
    postOutcome: 'posted',
    takesForks: true,
    memfd: -1,
    taken,
    takenSigned: new Int32Array(taken.buffer),
    ...NOTHING,
    fork({ slot, generation }) {
      if (!ring.takesForks) return false;
      calls.push(`fork ${placeOf(slot)}:${generation}`);
      alive.set(placeOf(slot), generation);
      posted.set(placeOf(slot), []);
      return true;
    },
    kill: (slot, generation) => void calls.push(`kill ${placeOf(slot)}:${generation}`),
    post(slot, generation, request: InvocationRequest) {
      if (ring.postOutcome !== 'posted') return ring.postOutcome;
      calls.push(`post ${placeOf(slot)}:${generation} ${request.path}`);
      posted.get(placeOf(slot))?.push(slot);
      return 'posted';
    },
    withdraw(slot, generation) {
      const slots = posted.get(placeOf(slot)) ?? [];
      const at = slots.indexOf(slot);
      if (at < 0 || ring.hasBegun(slot, slots)) return false;
      calls.push(`withdraw ${placeOf(slot)}:${generation}`);
      slots.splice(at, 1);
      return true;
    },
    drain() {
      const reports = seen;
      seen = [];
      for (const [index, report] of reports.entries()) writeRecord(taken, index * TAKEN.words, report);
      return reports.length;
    },
    look(slot, generation) {
      const found = lost.find((report) => report.slot === slot && report.generation === generation);
      if (found === undefined) return false;
      lost = lost.filter((report) => report !== found);
      writeRecord(taken, 0, found);
      return true;
    },
    free: (slot) => void alive.delete(placeOf(slot)),
    hints: () => ring.hintsOf,
    report(place, report = {}, wake = 'seen') {
      const slots = report.state === undefined ? posted.get(place) : undefined;
      const slot = report.slot ?? slots?.shift() ?? place * WORKER_SLOTS;
      const generation = alive.get(place) ?? 0;
      const facts = { state: SLOT.done, result: 0, detail: 0, isValid: true, cpuUs: 1_000 };
      (wake === 'seen' ? seen : lost).push({ slot, generation, ...facts, ...report });
    },
    ready: (place) => ring.report(place, { state: SLOT.ready }),
    answer: (place, cpuUs = 1_000) => ring.report(place, { cpuUs }),
  };
  return ring;
}
