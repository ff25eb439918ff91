// Keeps the artifacts of the versions that serve in the cache on disk, also where the disk refused at first.
import type { Clock } from '../../base/clock.ts';
import { EDGE_TUNING } from '../../base/limits/edge.ts';
import type { Log } from '../../base/log.ts';
import { type Loop, startLoop } from '../../base/loop.ts';
import { backoffMs } from '../../base/retry.ts';
import type { ArtifactCache } from './cache/cache.ts';
import type { FunctionState, Running } from './function_state.ts';
import type { Puller } from './pull.ts';

export type StoringOptions = {
  states: () => Iterable<FunctionState>;
  cache: Pick<ArtifactCache, 'holds' | 'put' | 'pin'>;
  puller: Pick<Puller, 'pull'>;
  clock: Clock;
  /** In [0, 1). */
  random: () => number;
  log: Log;
  /** What the node reports has changed. */
  onChange: () => void;
};

const BACKOFF = { delayMsMin: EDGE_TUNING.storeRetryMsMin, delayMsMax: EDGE_TUNING.storeRetryMsMax };

/**
 * The loop that checks `EDGE_TUNING.storeChecksMax` versions per step, in turns, and pulls those again that
 * are not in the cache, `storePullsMax` of them per step and each with a backoff.
 */
export function startStoring(options: StoringOptions): Loop {
  const { states, cache, clock, random, log, onChange } = options;
  const retries = new WeakMap<Running, { attempt: number; atMs: number }>();
  let position = 0;

  const inTurn = (): FunctionState[] => {
    const serving = [...states()].filter((state) => state.serving !== null);
    if (position >= serving.length) position = 0;
    const chosen = serving.slice(position, position + EDGE_TUNING.storeChecksMax);
    position += chosen.length;
    return chosen;
  };
  const isDue = (running: Running): boolean => (retries.get(running)?.atMs ?? 0) <= clock.monotonicMs();
  const mark = (running: Running, isStored: boolean): void => {
    if (running.isStored === isStored) return;
    running.isStored = isStored;
    onChange();
  };
  const storeAgain = async (state: FunctionState, running: Running): Promise<void> => {
    const attempt = (retries.get(running)?.attempt ?? 0) + 1;
    const atMs = clock.monotonicMs() + Math.ceil(backoffMs(attempt - 1, BACKOFF, random));
    retries.set(running, { attempt, atMs });
    const stored = await pullAndStore(state, running, options);
    if (state.serving !== running) return;
    mark(running, stored);
    if (!stored) return;
    retries.delete(running);
    log.info('an artifact is in the cache again', { function_id: state.functionId });
  };

  const step = async (signal: AbortSignal): Promise<number> => {
    let pulls = 0;
    for (const state of inTurn()) {
      const { serving, wanted, isBusy } = state;
      if (signal.aborted) break;
      // Other steps of the function change its files.
      if (serving === null || isBusy || wanted?.key !== serving.key) continue;
      const { function_id: functionId, version } = serving.desired;
      const isStored = await cache.holds({ functionId, version });
      if (state.serving !== serving || state.isBusy) continue;
      mark(serving, isStored);
      if (isStored || pulls >= EDGE_TUNING.storePullsMax || !isDue(serving)) continue;
      pulls += 1;
      await storeAgain(state, serving);
    }
    return EDGE_TUNING.storeCheckMs;
  };
  let isBegun = false;
  const begin = async (signal: AbortSignal): Promise<number> => {
    if (isBegun) return await step(signal);
    isBegun = true;
    return EDGE_TUNING.storeCheckMs;
  };
  return startLoop({ name: 'storing', clock, log, failedMs: EDGE_TUNING.storeCheckMs, step: begin });
}

/** Whether it is in the cache now. */
async function pullAndStore(
  state: FunctionState,
  { desired }: Running,
  { cache, puller }: StoringOptions,
): Promise<boolean> {
  const { function_id: functionId, version, sha256 } = desired;
  const pulled = await puller.pull(desired);
  const isIdle = !state.isBusy && state.serving?.desired.version === version && state.wanted !== null;
  if (!pulled.ok || !isIdle) return false;
  if ((await cache.put({ functionId, version, sha256 }, pulled.bytes)) !== 'stored') return false;
  cache.pin(functionId, version);
  return true;
}
