// A ring whose workers do what a test tells them, so that pools are tried without processes.
import { WORKER_SLOTS } from '../../../src/engine/ring/geometry.ts';
import type { PostOutcome, Ring, RingEvent } from '../../../src/engine/ring/ring.ts';
import type { GuestFault, InvocationLogs, InvocationRequest } from '../../../src/model/invocation.ts';

/** What a worker reports; `slot` and `generation` are those of the worker unless a test says otherwise. */
export type Report = {
  kind: RingEvent['kind'];
  slot?: number;
  generation?: number;
  fault?: GuestFault;
  cpuUs?: number;
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
  isRecycling: boolean;
  /** What the guest logged in a slot whose request has no answer. */
  logsOf: (slot: number) => InvocationLogs | null;
  postOutcome: PostOutcome;
  takesForks: boolean;
  takesKills: boolean;
  /** Processor time by pid, in milliseconds. */
  readonly cpu: Map<number, number>;
  /** A worker reports on the oldest request that it has; with `wake: 'lost'` only a poll finds it. */
  report(place: number, report?: Report, wake?: 'seen' | 'lost'): void;
  ready(place: number): void;
  answer(place: number, cpuUs?: number): void;
};

const placeOf = (slot: number): number => Math.floor(slot / WORKER_SLOTS);
const LOAD_FAILED: GuestFault = { code: 'guest_start_failed', detail: null };

function eventOf(report: Report, name: { slot: number; generation: number }): RingEvent {
  const { cpuUs = 1_000, fault = LOAD_FAILED, kind } = report;
  if (kind === 'start_failed') return { kind, fault, ...name };
  if (kind !== 'answer') return { kind, ...name };
  const headers: [string, string][] = [['a', 'b']];
  const outcome = { kind: 'answer', status: 200, headers, body: new Uint8Array(1), logs: null } as const;
  return { kind, cpuUs, outcome, ...name };
}

/** What no rule of a pool depends on. */
const NOTHING = {
  openCommand: () => -1,
  closeCommand: () => undefined,
  closeFd: () => undefined,
  compile: () => false,
  hoards: () => false,
  cancelCompile: () => true,
  adopt: () => undefined,
  ping: () => undefined,
  geometry: {
    slots: 0,
    requestHeadBytes: 0,
    requestBodyBytes: 0,
    responseHeadBytes: 0,
    responseBodyBytes: 0,
    logBytes: 0,
  },
  close: () => undefined,
};

export function createFakeRing(): FakeRing {
  const calls: string[] = [];
  const alive = new Map<number, number>();
  const posted = new Map<number, number[]>();
  const seen: RingEvent[] = [];
  const lost: RingEvent[] = [];
  const ring: FakeRing = {
    calls,
    alive,
    posted,
    hasBegun: (slot, slots) => slot === slots[0],
    isRecycling: false,
    logsOf: () => null,
    postOutcome: 'posted',
    takesForks: true,
    takesKills: true,
    ...NOTHING,
    cpuMs: (pid) => ring.cpu.get(pid) ?? 0,
    cpu: new Map(),
    fork({ slot, generation }) {
      if (!ring.takesForks) return false;
      calls.push(`fork ${placeOf(slot)}:${generation}`);
      alive.set(placeOf(slot), generation);
      posted.set(placeOf(slot), []);
      return true;
    },
    kill(slot, generation) {
      calls.push(`kill ${placeOf(slot)}:${generation}`);
      return ring.takesKills;
    },
    post(slot, generation, request: InvocationRequest) {
      if (ring.postOutcome !== 'posted') return ring.postOutcome;
      calls.push(`post ${placeOf(slot)}:${generation} ${request.target}`);
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
    next: () => seen.shift() ?? null,
    poll(slot, generation) {
      const at = lost.findIndex((event) => event.slot === slot && event.generation === generation);
      return at < 0 ? null : (lost.splice(at, 1)[0] ?? null);
    },
    logs: (slot, generation) => (alive.get(placeOf(slot)) === generation ? ring.logsOf(slot) : null),
    free(slot) {
      alive.delete(placeOf(slot));
      posted.delete(placeOf(slot));
    },
    hints: () => ({ isInGuest: false, isRecycling: ring.isRecycling }),
    report(place, report = { kind: 'answer' }, wake = 'seen') {
      const isAnswer = report.kind === 'answer' || report.kind === 'broken';
      const slots = isAnswer ? posted.get(place) : undefined;
      const slot = report.slot ?? slots?.shift() ?? place * WORKER_SLOTS;
      const generation = report.generation ?? alive.get(place) ?? 0;
      (wake === 'seen' ? seen : lost).push(eventOf(report, { slot, generation }));
    },
    ready: (place) => ring.report(place, { kind: 'ready' }),
    answer: (place, cpuUs = 1_000) => ring.report(place, { kind: 'answer', cpuUs }),
  };
  return ring;
}
