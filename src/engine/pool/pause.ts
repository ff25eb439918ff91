// When a version may get its next worker after one failed, and later still after one that misbehaved.
import type { Clock } from '../../base/clock.ts';
import { POOL_TUNING } from '../../base/limits/pool.ts';
import { backoffMs } from '../../base/retry.ts';
import type { GuestFault } from '../../model/invocation.ts';

export type Pause = {
  /** What a request gets meanwhile; null where a worker may start. */
  fault(nowMs: number): GuestFault | null;
  /** A worker failed at its start, or before its first answer. Returns what a request gets meanwhile. */
  failed(fault: GuestFault): GuestFault;
  /** A worker did what only one does that was taken over: nobody does that by accident. */
  misbehaved(): void;
  /** A worker started. */
  started(): void;
};

const BACKOFF = { delayMsMin: POOL_TUNING.workerRetryMsMin, delayMsMax: POOL_TUNING.workerRetryMsMax };
const MISBEHAVED: GuestFault = { code: 'guest_crashed', detail: 'it misbehaved, and its version pauses' };

export function createPause({ clock, random }: { clock: Clock; random: () => number }): Pause {
  let failures = 0;
  let misdeeds = 0;
  let last: GuestFault = { code: 'guest_start_failed', detail: null };
  let untilMs = 0;
  return {
    fault: (nowMs) => (nowMs < untilMs ? last : null),
    failed({ code, detail }) {
      last = { code, detail };
      untilMs = clock.monotonicMs() + backoffMs(failures, BACKOFF, random);
      failures += 1;
      return last;
    },
    misbehaved() {
      const { misbehavedMsMax, misbehavedMsMin } = POOL_TUNING;
      last = MISBEHAVED;
      const waitMs = Math.min(misbehavedMsMax, misbehavedMsMin * 2 ** Math.min(misdeeds, 30));
      untilMs = Math.max(untilMs, clock.monotonicMs() + waitMs);
      misdeeds += 1;
    },
    started() {
      failures = 0;
    },
  };
}
