// A ring whose workers do what a test tells them, so that rules of pool and roster are tried without
// processes.
import type { InvocationRequest } from '../../src/model/invocation.ts';
import { SLOT } from '../../src/engine/results.ts';
import { type PostOutcome, type Ring, TAKEN } from '../../src/engine/ring.ts';

type Report = {
  slot: number;
  generation: number;
  state: number;
  result: number;
  detail: number;
  isValid: boolean;
};

export type FakeRing = Ring & {
  /** Forks, kills and posts so far, in order: `fork 0:1`, `kill 0:1`, `post 0:1 /path`. */
  readonly calls: string[];
  /** Slots that are forked and not freed, with their generation. */
  readonly alive: Map<number, number>;
  hintsOf: number;
  postOutcome: PostOutcome;
  takesForks: boolean;
  /** The worker of `slot` reports; with `wake: 'lost'` only a look finds it. */
  report(slot: number, report?: Partial<Report>, wake?: 'seen' | 'lost'): void;
  ready(slot: number): void;
  answer(slot: number): void;
};

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

export function createFakeRing(slots: number): FakeRing {
  const taken = new Uint32Array(slots * TAKEN.words);
  const takenSigned = new Int32Array(taken.buffer);
  const calls: string[] = [];
  const alive = new Map<number, number>();
  let seen: Report[] = [];
  let lost: Report[] = [];
  const write = (at: number, report: Report): void => {
    taken.fill(0, at, at + TAKEN.words);
    taken[at + TAKEN.slot] = report.slot;
    taken[at + TAKEN.generation] = report.generation;
    taken[at + TAKEN.state] = report.state;
    taken[at + TAKEN.result] = report.result;
    takenSigned[at + TAKEN.detail] = report.detail;
    taken[at + TAKEN.status] = 200;
    taken[at + TAKEN.isValid] = report.isValid ? 1 : 0;
  };
  const ring: FakeRing = {
    calls,
    alive,
    hintsOf: 0,
    postOutcome: 'posted',
    takesForks: true,
    memfd: -1,
    taken,
    takenSigned,
    ...NOTHING,
    fork({ slot, generation }) {
      if (!ring.takesForks) return false;
      calls.push(`fork ${slot}:${generation}`);
      alive.set(slot, generation);
      return true;
    },
    kill: (slot, generation) => void calls.push(`kill ${slot}:${generation}`),
    post(slot, generation, request: InvocationRequest) {
      if (ring.postOutcome === 'posted') calls.push(`post ${slot}:${generation} ${request.path}`);
      return ring.postOutcome;
    },
    drain() {
      const reports = seen;
      seen = [];
      for (const [index, report] of reports.entries()) write(index * TAKEN.words, report);
      return reports.length;
    },
    look(slot, generation) {
      const found = lost.find((report) => report.slot === slot && report.generation === generation);
      if (found === undefined) return false;
      lost = lost.filter((report) => report !== found);
      write(0, found);
      return true;
    },
    free: (slot) => void alive.delete(slot),
    hints: () => ring.hintsOf,
    report(slot, report = {}, wake = 'seen') {
      const generation = alive.get(slot) ?? 0;
      const whole = { slot, generation, state: SLOT.done, result: 0, detail: 0, isValid: true, ...report };
      (wake === 'seen' ? seen : lost).push(whole);
    },
    ready: (slot) => ring.report(slot, { state: SLOT.ready }),
    answer: (slot) => ring.report(slot),
  };
  return ring;
}
