// Keeps the artifacts whole: verifies each before it is sent, and all of them from time to time.
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../base/clock.ts';
import type { SerialQueue } from '../../base/concurrency.ts';
import type { RandomBytes } from '../../base/id.ts';
import { ARTIFACT_BOUNDS, ARTIFACT_TUNING } from '../../base/limits/control.ts';
import type { Log } from '../../base/log.ts';
import { type Loop, startLoop } from '../../base/loop.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { ArtifactState } from '../../model/artifact.ts';
import type { ArtifactStore } from '../../store/artifacts/artifacts.ts';
import type { Store } from '../../store/store.ts';
import { createScrub } from './scrub.ts';

export type Keeper = {
  /** The bytes of an artifact, verified; null where its file is missing or damaged. */
  open(sha256: string): Promise<Blob | null>;
  /** The loop that verifies all artifacts and sets aside the files that no version names. */
  startScrub(): Loop;
};

export type KeeperOptions = {
  store: Pick<Store, 'artifacts'>;
  artifacts: ArtifactStore;
  /** Runs what changes files, one at a time: see `createPublisher`. */
  changes: SerialQueue;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  metrics: Metrics;
};

/** What a check has found, of the file with this stamp. */
type Seen = { stamp: string | null; atMs: number; isWhole: boolean };

export function createKeeper(options: KeeperOptions): Keeper {
  const { store, artifacts, changes, clock, random, log, metrics } = options;
  const checked = metrics.counter({
    name: 'control_artifacts_checked_total',
    help: 'Artifacts that the control plane has checked, by what it found.',
    labels: ['found'],
  });
  const seen = new LRUCache<string, Seen>({ max: ARTIFACT_BOUNDS.verifiedMax });
  const running = new Map<string, Promise<ArtifactState>>();

  /** A disk that takes no change keeps the file where it is: it is not sent all the same. */
  const setDamagedAside = async (sha256: string): Promise<void> => {
    try {
      await artifacts.setAside(sha256, 'damaged', clock.nowMs());
    } catch (failure) {
      log.warn('a damaged artifact could not be moved', { sha256, error: String(failure) });
    }
  };
  /** In the queue of changes, so that an upload which repairs the file does not lose it. */
  const mend = async (sha256: string): Promise<ArtifactState> => {
    let state = await artifacts.verify(sha256);
    if (state === 'missing' && (await artifacts.restore(sha256))) {
      state = await artifacts.verify(sha256);
      log.warn('an artifact was set aside as orphaned, and is back', { sha256, state });
    }
    if (state === 'damaged') await setDamagedAside(sha256);
    if (state !== 'whole') {
      const advice = 'upload its bytes again: `edge doctor` names the versions';
      log.error(`an artifact is ${state}: ${advice}`, { sha256, error: 'artifact_unavailable' });
    }
    return state;
  };
  const check = async (sha256: string): Promise<ArtifactState> => {
    const found = await artifacts.verify(sha256);
    const state = found === 'whole' ? found : await changes(() => mend(sha256));
    checked.series(found).inc();
    return state;
  };
  const checkOnce = (sha256: string): Promise<ArtifactState> => {
    const shared = running.get(sha256) ?? check(sha256).finally(() => running.delete(sha256));
    running.set(sha256, shared);
    return shared;
  };
  const isWhole = async (sha256: string): Promise<boolean> => {
    const stamp = await artifacts.stampOf(sha256);
    const known = seen.get(sha256);
    const atMs = clock.monotonicMs();
    if (known?.stamp === stamp && atMs - known.atMs < ARTIFACT_TUNING.verifiedMs) return known.isWhole;
    const isWhole = (await checkOnce(sha256)) === 'whole';
    seen.set(sha256, { stamp, atMs, isWhole });
    return isWhole;
  };
  /** No publication runs meanwhile: a file whose row is about to be written is no orphan. */
  const setOrphanAside = (sha256: string): Promise<void> =>
    changes(async () => {
      if (await store.artifacts.isKnown(sha256)) return;
      await artifacts.setAside(sha256, 'orphaned', clock.nowMs());
      checked.series('orphaned').inc();
      log.info('a file that no version names is set aside', { sha256 });
    });

  return {
    open: async (sha256) => ((await isWhole(sha256)) ? await artifacts.open(sha256) : null),
    startScrub() {
      const step = createScrub({ store, artifacts, clock, random, check: checkOnce, setOrphanAside });
      return startLoop({ name: 'scrub', clock, log, failedMs: ARTIFACT_TUNING.scrubStepMs, step });
    },
  };
}
