// A worker as the edge knows it, and what its pool is told about it.
import type { InvocationOutcome } from '../../model/invocation.ts';
import type { Invocation } from './queue.ts';
import type { ExitFault, Fault } from '../ring/results.ts';

/** `ending`: it was told to die, or has failed to start; its slot is free again after it was reaped. */
export type WorkerState = 'starting' | 'idle' | 'busy' | 'ending';

/** Times are on the engine's monotonic clock. `sinceMs` is when it became idle. */
export type Worker = {
  /** The first of its slots. */
  readonly slot: number;
  readonly generation: number;
  readonly owner: WorkerOwner;
  pid: number;
  state: WorkerState;
  sinceMs: number;
  /** When its start has lasted too long. */
  readonly deadlineMs: number;
  /** What it has to answer, oldest first: it serves one of them, and the others wait in their slots. */
  readonly given: Invocation[];
  /** A bit for each of its slots that holds no invocation. */
  freeSlots: number;
  /** Looks of the sweep since it became busy or answered. */
  looks: number;
  /** Nothing is given to it until it has answered. */
  isStuck: boolean;
  served: number;
  /** It may still be making its instance pristine after the last request. */
  isRecycling: boolean;
  hasExited: boolean;
};

/**
 * The pool of a worker. `onReady` and `onAnswer` come when it may be posted to (unless it has exited); all
 * others come with the state that it had, before it is ended or forgotten, and mean all that it was given.
 */
export type WorkerOwner = {
  /** How long it may take an idle worker to make its instance pristine. */
  readonly recyclingMsMax: number;
  onReady(worker: Worker): void;
  onStartFailed(worker: Worker, fault: Fault): void;
  /** `cpuUs` is the processor time that the worker says it took. */
  onAnswer(worker: Worker, invocation: Invocation, outcome: InvocationOutcome, cpuUs: number): void;
  /** It was given these, in this order, and has not begun them; it is idle when that was all it had. */
  onWithdrawn(worker: Worker, invocations: readonly Invocation[]): void;
  /** It is being killed in the middle of a request, whose outcome this is. */
  onKilled(worker: Worker, outcome: InvocationOutcome): void;
  /** It was idle and is being killed. */
  onEvicted(worker: Worker): void;
  /** Reaped; `fault` is null when it was told to die. */
  onGone(worker: Worker, fault: ExitFault | null): void;
  /** The engine process died, and the worker with it. */
  onLost(worker: Worker): void;
  /** Whether another worker could take something at once. */
  hasIdle(): boolean;
  /** Whether an idle worker may go to make room; `last` asks for the last ones too. */
  spares(count: 'above_min' | 'last'): boolean;
};
