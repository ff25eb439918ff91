// What a failed step means for its function: the code to report, and when to try again.
import { GUEST_ERRORS, type GuestErrorCode, MODULE_ERRORS, type ModuleErrorCode } from '../../base/errors.ts';
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
  /** Failures in a row with this code and message, this one included. */
  sameFaults: number;
  /** Monotonic; infinite where it is not tried again. */
  retryAtMs: number;
  /** The heartbeat reports `error` instead of `loading`; the function is tried again all the same. */
  isFinal: boolean;
  /** The heartbeat reports `failed`: the version fails in the same way each time. */
  isOver: boolean;
};

/** Faults that depend on the node or on its load, and not on the version alone. */
const PASSING: ReadonlySet<string> = new Set([
  'artifact_unavailable',
  'execution_timeout',
  'guest_memory_exhausted',
  'module_too_complex',
  'worker_lost',
]);

function isOfVersion(code: string): boolean {
  return (code in GUEST_ERRORS || code in MODULE_ERRORS) && !PASSING.has(code);
}

const PULL_BACKOFF = { delayMsMin: SYNC_TUNING.pullDelayMsMin, delayMsMax: SYNC_TUNING.pullDelayMsMax };
const RECONCILE_BACKOFF = {
  delayMsMin: EDGE_TUNING.reconcileDelayMsMin,
  delayMsMax: EDGE_TUNING.reconcileDelayMsMax,
};

/**
 * `before` is the failure of the attempt before, of the same version. `random` is in [0, 1). A failure that is
 * no `StepFailure` is one inside the edge, and final.
 */
export function failureOf(
  thrown: unknown,
  options: { key: string | null; before: FunctionFailure | null; nowMs: number; random: () => number },
): FunctionFailure {
  const { key, before, nowMs, random } = options;
  const known = thrown instanceof StepFailure ? thrown : null;
  const code = known?.code ?? 'internal';
  const message = known?.message ?? 'a step failed inside the edge';
  const attempt = (before?.attempt ?? 0) + 1;
  const isSame = before?.code === code && before.message === message;
  const sameFaults = isSame ? before.sameFaults + 1 : 1;
  const isOver = isOfVersion(code) && sameFaults >= EDGE_TUNING.sameFaultsMax;
  const backoff = code === 'artifact_unavailable' ? PULL_BACKOFF : RECONCILE_BACKOFF;
  const delayMs = isOver ? Number.POSITIVE_INFINITY : Math.ceil(backoffMs(attempt - 1, backoff, random));
  return {
    key,
    code,
    message,
    attempt,
    sameFaults,
    retryAtMs: nowMs + delayMs,
    isFinal: known === null || known.isFinal || attempt >= SYNC_BOUNDS.pullAttemptsMax,
    isOver,
  };
}
