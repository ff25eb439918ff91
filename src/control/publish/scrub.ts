// One step of the scrub: verifies the next artifacts, and finds the files that no version names.
import type { Clock } from '../../base/clock.ts';
import type { RandomBytes } from '../../base/id.ts';
import { ARTIFACT_TUNING } from '../../base/limits/control.ts';
import type { ArtifactStore } from '../../store/artifacts/artifacts.ts';
import type { Store } from '../../store/store.ts';

export type ScrubOptions = {
  store: Pick<Store, 'artifacts'>;
  artifacts: Pick<ArtifactStore, 'named' | 'dropAside'>;
  clock: Clock;
  random: RandomBytes;
  /** Verifies one artifact and does what has to be done. */
  check: (sha256: string) => Promise<unknown>;
  setOrphanAside: (sha256: string) => Promise<void>;
};

/** Artifacts lie in folders by the first two digits of their digests. */
const FOLDERS = 256;
const prefixOf = (folder: number): string => (folder % FOLDERS).toString(16).padStart(2, '0');

/**
 * Returns the step of a loop. A pass begins at a random folder, so that a control plane that is often started
 * again reaches all of them. What fails is not tried again before the next pass.
 */
export function createScrub(options: ScrubOptions): (signal: AbortSignal) => Promise<number> {
  const { store, artifacts, clock, random, check, setOrphanAside } = options;
  const first = random(1)[0] ?? 0;
  let done = 0;
  let after = '';
  let isBegun = false;

  const itemsOf = async (prefix: string): Promise<{ sha256: string; sizeBytes: number | null }[]> => {
    const files = await artifacts.named(prefix);
    // Rows after files: a version that is published in between is then known.
    const rows = await store.artifacts.named(prefix);
    const sizes = new Map(rows.map(({ sha256, size_bytes }) => [sha256, size_bytes]));
    const all = [...new Set([...files, ...sizes.keys()])].filter((sha256) => sha256 > after).sort();
    return all.map((sha256) => ({ sha256, sizeBytes: sizes.get(sha256) ?? null }));
  };

  return async (signal) => {
    if (!isBegun) {
      isBegun = true;
      return ARTIFACT_TUNING.scrubStepMs;
    }
    let bytes = 0;
    let items = 0;
    const isSpent = (): boolean =>
      bytes >= ARTIFACT_TUNING.scrubStepBytes || items >= ARTIFACT_TUNING.scrubStepItems || signal.aborted;
    for (; done < FOLDERS; done += 1) {
      for (const { sha256, sizeBytes } of await itemsOf(prefixOf(first + done))) {
        if (isSpent()) return ARTIFACT_TUNING.scrubStepMs;
        items += 1;
        bytes += sizeBytes ?? 0;
        after = sha256;
        if (sizeBytes === null) await setOrphanAside(sha256);
        else await check(sha256);
      }
      after = '';
    }
    done = 0;
    await artifacts.dropAside(clock.nowMs());
    return ARTIFACT_TUNING.scrubPauseMs;
  };
}
