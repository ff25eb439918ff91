// What a failed step means for its function: the code to report, and when to try again.
import type { GuestErrorCode, ModuleErrorCode } from '../../base/errors.ts';
import { EDGE_TUNING } from '../../base/limits/edge.ts';
import { SYNC_BOUNDS, SYNC_TUNING } from '../../base/limits/sync.ts';
import { backoffMs } from '../../base/retry.ts';

type StepCode = ModuleErrorCode | GuestErrorCode | 'artifact_unavailable';

/** A step failed and left a valid state behind. `isFinal`: another attempt soon would not help. */
export class StepFailure extends Error {
  readonly code: StepCode;
  readonly isFinal: boolean;

  constructor(code: StepCode, options: { message: string; isFinal: boolean }) {
    super(options.message);
    this.code = code;
    this.isFinal = options.isFinal;
  }
}

/** The last failure on the way to the wanted version. */
export type FunctionFailure = {
  /** Of the version that was wanted; null when none was. */
  key: string | null;
  code: StepCode | 'internal';
  message: string;
  /** Counts from 1. */
  attempt: number;
  /** Monotonic. */
  retryAtMs: number;
  /** The heartbeat reports `error` instead of `loading`; the function is tried again all the same. */
  isFinal: boolean;
};

const PULL_BACKOFF = { delayMsMin: SYNC_TUNING.pullDelayMsMin, delayMsMax: SYNC_TUNING.pullDelayMsMax };
const RECONCILE_BACKOFF = {
  delayMsMin: EDGE_TUNING.reconcileDelayMsMin,
  delayMsMax: EDGE_TUNING.reconcileDelayMsMax,
};

/** `random` is in [0, 1). A failure that is no `StepFailure` is one inside the edge, and final. */
export function failureOf(
  thrown: unknown,
  options: { key: string | null; attempt: number; nowMs: number; random: () => number },
): FunctionFailure {
  const { key, attempt, nowMs, random } = options;
  const known = thrown instanceof StepFailure ? thrown : null;
  const backoff = known?.code === 'artifact_unavailable' ? PULL_BACKOFF : RECONCILE_BACKOFF;
  return {
    key,
    code: known?.code ?? 'internal',
    message: known?.message ?? 'a step failed inside the edge',
    attempt,
    retryAtMs: nowMs + backoffMs(attempt - 1, backoff, random),
    isFinal: known === null || known.isFinal || attempt >= SYNC_BOUNDS.pullAttemptsMax,
  };
}
