// Opens what brings a node to its desired state: its artifact cache, its downloads and its reconciler.
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import type { RandomBytes } from '../../base/id.ts';
import type { Log } from '../../base/log.ts';
import type { SendRequest } from '../send.ts';
import type { Engine } from '../../engine/engine.ts';
import type { EdgeFigures } from '../figures/figures.ts';
import { type ArtifactCache, isInUse, openCache } from './cache/cache.ts';
import { createPuller } from './pull.ts';
import { Reconciler } from './reconciler.ts';
import { createSteps } from './steps.ts';

export type ReconcileConfig = {
  cpUrl: string;
  cacheDir: string;
  /** Holds the artifacts when another process uses `cacheDir`. */
  dataDir: string;
  cacheBytesMax: number;
  cacheEntriesMax: number;
  concurrentPerProject: number;
  invocationsPerMinute: number;
  /** Workers to warm before a version serves; 0 warms one all the same, to prove that the version starts. */
  poolWorkersMin: number;
};

/** Throws where the cache cannot be opened. The caller starts the reconciler, drains it and closes it. */
export function openReconciler(options: {
  config: ReconcileConfig;
  /** Stays the caller's. */
  engine: Engine;
  controlFetch: SendRequest;
  publicFetch: SendRequest;
  nodeToken: () => string | null;
  figures: EdgeFigures;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  /** What `observed` returns has changed. */
  onChange: () => void;
}): Reconciler {
  const { config, engine, figures, clock, random, log, onChange } = options;
  const { controlFetch, publicFetch, nodeToken } = options;
  const { cpUrl, concurrentPerProject, invocationsPerMinute, poolWorkersMin } = config;
  const cache = openNodeCache(config, { clock, random, log, onRead: figures.cacheRead });
  const onPulled = figures.pulled;
  const puller = createPuller({ controlFetch, publicFetch, cpUrl, nodeToken, clock, onPulled });
  const onPrepared = figures.prepared;
  const steps = createSteps({ engine, cache, puller, poolWorkersMin, log, onPrepared });
  const quota = { concurrentMax: concurrentPerProject, perMinuteMax: invocationsPerMinute };
  const parts = { steps, cache, puller, figures, clock, random, log, quota, onChange };
  return new Reconciler(parts);
}

/** A second node on this machine keeps its artifacts in its data directory. */
function openNodeCache(
  config: ReconcileConfig,
  parts: { clock: Clock; random: RandomBytes; log: Log; onRead: EdgeFigures['cacheRead'] },
): ArtifactCache {
  const { cacheDir, dataDir, cacheBytesMax: bytesMax, cacheEntriesMax: entriesMax } = config;
  const { clock, random, log, onRead } = parts;
  const open = (dir: string): ArtifactCache =>
    openCache({ dir, bytesMax, entriesMax, clock, random, log, onRead });
  try {
    return open(cacheDir);
  } catch (failure) {
    if (!isInUse(failure)) throw failure;
    log.warn('another process has the cache directory; artifacts are kept in the data directory');
    return open(join(dataDir, 'artifacts'));
  }
}
