// The control plane: opens its rooms from top to bottom and closes them in reverse.
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { type Failpoints, NO_FAILPOINTS } from '../base/failpoints/failpoints.ts';
import { createId, type RandomBytes } from '../base/id.ts';
import { CONTROL_TUNING } from '../base/limits/control.ts';
import { SYNC_DEFAULTS } from '../base/limits/sync.ts';
import type { Log } from '../base/log.ts';
import { type Loop, startLoop } from '../base/loop.ts';
import type { Metrics } from '../base/metrics.ts';
import type { ModuleCheck } from '../model/wasm/check.ts';
import { openDiskArtifacts } from '../store/artifacts/artifacts.ts';
import { createPrivateFiles } from '../store/data_dir.ts';
import type { Migration } from '../store/database/database.ts';
import { openStore, type Store } from '../store/store.ts';
import { createApi } from './api/api.ts';
import { openAuth } from './auth/auth.ts';
import { createHttp } from './http/http.ts';
import { createMutations } from './http/mutations.ts';
import { createRequestContexts } from './http/request_context.ts';
import { createPublish } from './publish/publish.ts';
import { openEpochs } from './sync/epochs.ts';
import { createNotifier } from './sync/notifier.ts';
import { createSync } from './sync/sync.ts';

export type ControlOptions = {
  /** Holds `control.db`, `epoch.json`, `artifacts/`, the keys and `admin-token`; it belongs to this control plane alone. */
  dataDir: string;
  migrations: readonly Migration[];
  checkModule: ModuleCheck;
  productVersion: string;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  metrics: Metrics;
  /** The origin in upload URLs; without it, the one by which the caller reached the control plane. */
  publicUrl?: string;
  /** A node that has been silent for this long is offline; `SYNC_DEFAULTS.nodeOfflineMs` when left out. */
  nodeOfflineMs?: number;
  /** What to do where nodes have joined and the signing key is missing; `refuse` when left out. */
  lostSigningKey?: 'refuse' | 'replace';
  /** Only a test hands some in. */
  failpoints?: Failpoints;
};

export type Control = {
  /** The whole API; needs no socket, and ignores the host of the URL. Never rejects. */
  handle(request: Request): Promise<Response>;
  /** The admin token if this start made it, else null: only its hash is kept. */
  readonly newAdminToken: string | null;
  /** How many nodes have joined. */
  nodeCount(): Promise<number>;
  /** Ends the loops, answers every held request, waits for the others, then closes the database. */
  close(): Promise<void>;
};

/** Throws a sentence for the operator where the data directory cannot be used. */
export async function createControl(options: ControlOptions): Promise<Control> {
  const { dataDir, migrations, checkModule, productVersion, clock, random, log, metrics } = options;
  const { failpoints = NO_FAILPOINTS, nodeOfflineMs = SYNC_DEFAULTS.nodeOfflineMs } = options;
  const newId = (prefix: string): string => createId(prefix, clock.nowMs(), random);
  await using opened = new AsyncDisposableStack();

  const revisions = createNotifier({ clock });
  const path = await createDatabaseFile(dataDir);
  const store = openStore({ path, migrations, clock, onCommit: () => revisions.wake() });
  opened.defer(() => store.close());

  const files = createPrivateFiles({ dir: dataDir });
  const nodes = (await store.nodes.statuses()).length;
  const { lostSigningKey = 'refuse' } = options;
  const auth = await openAuth({ tokens: store.tokens, files, random, log, nodes, lostSigningKey });

  const marks = await openEpochs({ store, files, clock, random, log });
  const sync = createSync({ store, revisions, marks, nodeOfflineMs, clock, random, log, metrics });

  const artifacts = await openDiskArtifacts({ dir: join(dataDir, 'artifacts'), nextName: () => newId('in') });
  const publish = createPublish({
    store,
    artifacts,
    checkModule,
    uploadKey: auth.uploadKey,
    publicUrl: options.publicUrl ?? null,
    clock,
    random,
    log,
    metrics,
    failpoints,
  });

  const contexts = createRequestContexts();
  const mutations = createMutations({ store, contexts, failpoints });
  const http = createHttp({
    resources: createApi({ store, auth, sync, publish, contexts, mutations, productVersion, newId }),
    contexts,
    auth,
    answers: store.idempotency,
    productVersion,
    clock,
    random,
    log,
    metrics,
  });
  opened.defer(() => http.close());
  // Closed before HTTP, which waits for the requests that this answers.
  opened.defer(() => sync.close());

  const liveness = sync.startLiveness();
  opened.defer(() => liveness.close());
  const sweep = startSweep({ store, clock, log });
  opened.defer(() => sweep.close());
  const scrub = publish.startScrub();
  opened.defer(() => scrub.close());

  const closing = opened.move();
  let closed: Promise<void> | null = null;
  return {
    handle: http.handle,
    newAdminToken: auth.newAdminToken,
    nodeCount: async () => (await store.nodes.statuses()).length,
    close() {
      closed ??= closing.disposeAsync();
      return closed;
    },
  };
}

/** Makes the file before SQLite does, for its owner alone: rows hold what guests read with `env_get`. */
async function createDatabaseFile(dataDir: string): Promise<string> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const path = join(dataDir, 'control.db');
  const file = await open(path, 'a', 0o600);
  await file.close();
  return path;
}

/** The loop that deletes join tokens and kept answers that have expired, a bounded number at once. */
function startSweep(options: { store: Pick<Store, 'idempotency' | 'nodes'>; clock: Clock; log: Log }): Loop {
  const { store, clock, log } = options;
  const step = async (): Promise<number> => {
    await store.nodes.sweepJoinTokens();
    const hasMore = await store.idempotency.sweep();
    return hasMore ? CONTROL_TUNING.sweepPauseMs : CONTROL_TUNING.sweepMs;
  };
  return startLoop({ name: 'sweep', clock, log, failedMs: CONTROL_TUNING.sweepMs, step });
}
