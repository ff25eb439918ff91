// Keeps one engine process alive: starts it, and starts another when it dies.
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { backoffMs } from '../../base/retry.ts';
import { ENGINE_TUNING } from '../../base/limits/engine.ts';
import type { WallReport } from '../../model/wall.ts';
import type { Ring } from '../ring/ring.ts';
import { EngineUnusable, type ProcessExit } from '../ring/process_exit.ts';
import { type EngineProcess, type EngineProcessOptions, startEngineProcess } from './engine_process.ts';
import type { WakeHandlers } from './engine_socket.ts';
import type { EngineEvent } from './frames.ts';

/** What the engine process reports; the ring of `opened` may be used until `lost`. */
export type EngineHandlers = {
  opened(ring: Ring): void;
  /** The engine process died, and every worker with it. */
  lost(): void;
  started(worker: { slot: number; generation: number; pid: number }): void;
  exited(worker: { slot: number; generation: number; pid: number; exit: ProcessExit }): void;
  compiled(compile: { job: number; exit: ProcessExit }): void;
  wakes: WakeHandlers;
  /** An engine process has tried its wall; it serves next, or is refused. */
  wall(report: WallReport): void;
};

export type EngineSupervisor = {
  /**
   * Resolves once the engine process takes work; rejects when the supervisor is closed first, or with an
   * `EngineUnusable` when none ever will.
   */
  ready(): Promise<{ ring: Ring; wasmedgeVersion: string }>;
  pid(): number | null;
  /** Whether an engine process takes work and obeys, at this moment. */
  isServing(): boolean;
  restarts(): number;
  /** Resolves when no engine process will ever serve; otherwise stays pending. */
  readonly unusable: Promise<EngineUnusable>;
  close(): Promise<void>;
};

const BACKOFF = { delayMsMin: ENGINE_TUNING.restartMsMin, delayMsMax: ENGINE_TUNING.restartMsMax };

export function superviseEngine(
  options: EngineProcessOptions & { random: () => number; handlers: EngineHandlers },
): EngineSupervisor {
  const { clock, handlers, log, random } = options;
  const closing = new AbortController();
  let current: EngineProcess | null = null;
  let restarts = 0;
  let serving = expectProcess();
  const unusable = Promise.withResolvers<EngineUnusable>();

  const lose = (): void => {
    if (current === null) return;
    current = null;
    serving = expectProcess();
    handlers.lost();
  };

  /** Resolves when the process has ended, after it served. */
  const serveOnce = async (): Promise<void> => {
    const ended = Promise.withResolvers<void>();
    let hasEnded = false;
    const onEnd = (): void => {
      hasEnded = true;
      lose();
      ended.resolve();
    };
    const event = (one: EngineEvent): void => dispatch(one, handlers);
    const own = { event, wall: handlers.wall, wakes: handlers.wakes, ended: onEnd };
    const process = await startEngineProcess({ ...options, handlers: own });
    if (hasEnded) return;
    if (closing.signal.aborted) return process.close();
    current = process;
    log.info('the engine serves', { pid: process.pid, wasmedge_version: process.wasmedgeVersion });
    handlers.opened(process.ring);
    serving.resolve(process);
    await ended.promise;
  };

  const giveUp = (reason: EngineUnusable): void => {
    log.error('the engine cannot be used', { error: reason.message });
    serving.reject(reason);
    unusable.resolve(reason);
  };
  const onRestart = (): void => void (restarts += 1);
  const running = keepServing({ clock, log, random, serveOnce, onRestart, giveUp, signal: closing.signal });

  return {
    ready: () => serving.promise,
    pid: () => current?.pid ?? null,
    isServing: () => current?.isAnswering() === true,
    restarts: () => restarts,
    unusable: unusable.promise,
    async close() {
      closing.abort();
      serving.reject(new Error('the engine is closed'));
      await current?.close();
      await running;
    },
  };
}

/** Starts one process after the other, until `signal` aborts or none will ever serve. */
async function keepServing(options: {
  clock: Clock;
  log: Log;
  random: () => number;
  serveOnce: () => Promise<void>;
  onRestart: () => void;
  giveUp: (reason: EngineUnusable) => void;
  signal: AbortSignal;
}): Promise<void> {
  const { clock, giveUp, log, onRestart, random, serveOnce, signal } = options;
  let attempt = 0;
  while (!signal.aborted) {
    const startMs = clock.monotonicMs();
    try {
      await serveOnce();
      if (signal.aborted) return;
      log.error('the engine process ended; starting another');
    } catch (failure) {
      if (failure instanceof EngineUnusable) return giveUp(failure);
      log.error('the engine process did not start; trying again', { error: String(failure) });
    }
    onRestart();
    if (clock.monotonicMs() - startMs >= ENGINE_TUNING.stableMs) attempt = 0;
    if (attempt > 0) await clock.sleep(backoffMs(attempt, BACKOFF, random), signal);
    attempt += 1;
  }
}

/** Nobody needs to wait for the next process. */
function expectProcess(): PromiseWithResolvers<EngineProcess> {
  const expected = Promise.withResolvers<EngineProcess>();
  expected.promise.catch(() => undefined);
  return expected;
}

function dispatch(event: EngineEvent, handlers: EngineHandlers): void {
  if (event.kind === 'started') handlers.started(event);
  else if (event.kind === 'exited') handlers.exited(event);
  else if (event.kind === 'compiled') handlers.compiled(event);
}
