// A worker as the edge knows it, and what its pool is told about it.
import type { InvocationOutcome } from '../model/invocation.ts';
import type { ExitFault, Fault } from './results.ts';

/** `ending`: it was told to die, or has failed to start; its slot is free again after it was reaped. */
export type WorkerState = 'starting' | 'idle' | 'busy' | 'ending';

/** Times are on the engine's monotonic clock. `sinceMs` is when the state began. */
export type Worker = {
  readonly slot: number;
  readonly generation: number;
  readonly owner: WorkerOwner;
  pid: number;
  state: WorkerState;
  sinceMs: number;
  /** When it is killed: the end of its start, or of the request that it serves. */
  deadlineMs: number;
  served: number;
  /** It may still be making its instance pristine after the last request. */
  isRecycling: boolean;
  hasExited: boolean;
  /** Ends the invocation that it serves; null when there is none, or it has been ended already. */
  resolve: ((outcome: InvocationOutcome) => void) | null;
};

/**
 * The pool of a worker. `onReady` and `onAnswer` come with the worker idle (it may be posted to unless it has
 * exited); all others come with the state that it had, before it is ended or forgotten.
 */
export type WorkerOwner = {
  /** How long it may take an idle worker to make its instance pristine. */
  readonly recyclingMsMax: number;
  onReady(worker: Worker): void;
  onStartFailed(worker: Worker, fault: Fault): void;
  onAnswer(worker: Worker, outcome: InvocationOutcome): void;
  /** It is being killed in the middle of a request, whose outcome this is. */
  onKilled(worker: Worker, outcome: InvocationOutcome): void;
  /** It was idle and is being killed. */
  onEvicted(worker: Worker): void;
  /** Reaped; `fault` is null when it was told to die. */
  onGone(worker: Worker, fault: ExitFault | null): void;
  /** The engine process died, and the worker with it. */
  onLost(worker: Worker): void;
  /** Whether an idle worker may go to make room; `last` asks for the last ones too. */
  spares(count: 'above_min' | 'last'): boolean;
};
