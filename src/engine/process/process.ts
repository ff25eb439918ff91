// Keeps one engine process alive: starts it, starts it again when it has died, and says when its workers are
// gone.
import type { Clock } from '../../base/clock.ts';
import { ENGINE_TUNING } from '../../base/limits/engine.ts';
import type { Log } from '../../base/log.ts';
import { backoffMs } from '../../base/retry.ts';
import type { EngineProcess, EngineProcessHandlers } from './engine_process.ts';
import type { EngineEvent } from './frames.ts';
import type { Ring } from '../ring/ring.ts';

export type Zygote = {
  /** Resolves once the engine process takes work; rejects when the engine is closed first. */
  ready(): Promise<{ ring: Ring; wasmedgeVersion: string }>;
  pid(): number | null;
  restarts(): number;
  close(): Promise<void>;
};

export type ZygoteOptions = {
  start: (handlers: EngineProcessHandlers) => Promise<EngineProcess>;
  clock: Clock;
  log: Log;
  random: () => number;
  opened(ring: Ring): void;
  /** The ring of the last `opened` may not be used from here on; every worker in it is gone. */
  lost(): void;
  event(event: EngineEvent): void;
  wake(): void;
};

const BACKOFF = { delayMsMin: ENGINE_TUNING.restartMsMin, delayMsMax: ENGINE_TUNING.restartMsMax };

export function createZygote(options: ZygoteOptions): Zygote {
  const { clock, log, random, start } = options;
  const closing = new AbortController();
  let current: EngineProcess | null = null;
  let restarts = 0;
  let waiting = Promise.withResolvers<EngineProcess>();
  waiting.promise.catch(() => undefined);

  /** Resolves when the process has ended; how long it served decides on the wait before the next. */
  const serveOnce = async (): Promise<void> => {
    const ended = Promise.withResolvers<void>();
    let hasEnded = false;
    const process = await start({
      event: options.event,
      wake: options.wake,
      ended() {
        hasEnded = true;
        if (current !== null) {
          current = null;
          waiting = Promise.withResolvers<EngineProcess>();
          waiting.promise.catch(() => undefined);
          options.lost();
        }
        ended.resolve();
      },
    });
    if (hasEnded) return;
    if (closing.signal.aborted) return process.close();
    current = process;
    log.info('the engine serves', { pid: process.pid, wasmedge_version: process.wasmedgeVersion });
    options.opened(process.ring);
    waiting.resolve(process);
    await ended.promise;
  };

  const run = async (): Promise<void> => {
    let attempt = 0;
    while (!closing.signal.aborted) {
      const startMs = clock.monotonicMs();
      try {
        await serveOnce();
        if (closing.signal.aborted) return;
        log.error('the engine process ended; starting another');
      } catch (failure) {
        log.error('the engine process did not start; trying again', { error: String(failure) });
      }
      restarts += 1;
      if (clock.monotonicMs() - startMs >= ENGINE_TUNING.stableMs) attempt = 0;
      if (attempt > 0) await clock.sleep(backoffMs(attempt, BACKOFF, random), closing.signal);
      attempt += 1;
    }
  };
  const running = run();

  return {
    ready: async () => {
      const { ring, wasmedgeVersion } = await waiting.promise;
      return { ring, wasmedgeVersion };
    },
    pid: () => current?.pid ?? null,
    restarts: () => restarts,
    async close() {
      closing.abort();
      waiting.reject(new Error('the engine is closed'));
      await current?.close();
      await running;
    },
  };
}
