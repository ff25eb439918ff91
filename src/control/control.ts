// A whole control plane in one process: store, keys, loops and the API, opened together and closed together.
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { createId, type RandomBytes } from '../base/id.ts';
import { CONTROL_TUNING } from '../base/limits/control.ts';
import { REQUEST_DEFAULTS } from '../base/limits/request.ts';
import type { Log } from '../base/log.ts';
import { startLoop } from '../base/loop.ts';
import type { Metrics } from '../base/metrics.ts';
import { openDiskArtifacts } from '../store/artifacts/disk.ts';
import type { Migration } from '../store/sqlite/migrate.ts';
import { createPrivateFiles } from '../store/data_dir/private_files.ts';
import { openStore, type Store } from '../store/store.ts';
import { type Auth, openAuth } from './auth/auth.ts';
import type { ApiParts } from './api/resource.ts';
import { createControlApp } from './http/http.ts';
import { createRequestContexts } from './http/request_context.ts';
import { createIdempotency } from './http/idempotency.ts';
import { createInFlight } from './http/in_flight.ts';
import { createNotifier, type Notifier } from './sync/notifier.ts';
import { createSync } from './sync/sync.ts';
import type { ModuleCheck } from '../model/wasm/check.ts';
import { createPublish } from './publish/publish.ts';

export type ControlOptions = {
  /** Holds `control.db`, `artifacts/`, the keys and `admin-token`; it belongs to this control plane alone. */
  dataDir: string;
  migrations: readonly Migration[];
  checkModule: ModuleCheck;
  productVersion: string;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  metrics: Metrics;
  /** The origin in upload URLs; without it, the one that the caller used. */
  publicUrl?: string;
};

export type Control = {
  /** The whole API. Needs no socket: the host of the URL does not matter. Never rejects. */
  handle(request: Request): Promise<Response>;
  /** The admin token, where this was the first start and it has just been made. */
  readonly newAdminToken: string | null;
  readonly publicKey: string;
  /** Ends the loops, answers every held request, then closes the database. */
  close(): Promise<void>;
};

/** Throws a sentence for the operator where the data directory cannot be used. */
export async function createControl(options: ControlOptions): Promise<Control> {
  const { dataDir, clock, random } = options;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const path = join(dataDir, 'control.db');
  await createPrivately(path);
  const revisions = createNotifier({ clock });
  const store = openStore({
    path,
    migrations: options.migrations,
    clock,
    onCommit: () => revisions.wake(),
  });
  try {
    const files = createPrivateFiles({ dir: dataDir });
    const auth = await openAuth({ tokens: store.tokens, files, random });
    return await start(options, { store, auth, revisions });
  } catch (failure) {
    store.close();
    throw failure;
  }
}

/** SQLite gives its other files the mode of this one; rows hold what guests read with `env_get`. */
async function createPrivately(path: string): Promise<void> {
  const file = await open(path, 'a', 0o600);
  await file.close();
}

async function start(
  options: ControlOptions,
  opened: { store: Store; auth: Auth; revisions: Notifier },
): Promise<Control> {
  const { clock, random, log, metrics } = options;
  const { store, auth, revisions } = opened;
  const newId = (prefix: string): string => createId(prefix, clock.nowMs(), random);
  const artifacts = await openDiskArtifacts({
    dir: join(options.dataDir, 'artifacts'),
    nextName: () => newId('in'),
  });
  const sync = createSync({ store, revisions, clock, random, log, metrics });
  const parts: ApiParts = {
    store,
    auth,
    clock,
    sync,
    contexts: createRequestContexts(),
    publish: createPublish({
      store,
      artifacts,
      checkModule: options.checkModule,
      uploadKey: auth.uploadKey,
      publicUrl: options.publicUrl ?? null,
      clock,
    }),
    productVersion: options.productVersion,
    newId,
  };
  const idempotency = createIdempotency({ responses: store.answers, random, clock });
  const app = createControlApp({ parts, idempotency, log, metrics, random });
  const inFlight = createInFlight({ handle: app.handle, clock });
  const liveness = sync.startLiveness();
  const sweep = async (): Promise<number> => {
    await store.answers.sweep();
    return CONTROL_TUNING.sweepMs;
  };
  const sweeping = startLoop({ name: 'sweep', clock, log, failedMs: CONTROL_TUNING.sweepMs, step: sweep });
  return {
    handle: inFlight.handle,
    newAdminToken: auth.newAdminToken,
    publicKey: auth.signingKey.publicKey,
    async close() {
      sync.close();
      await Promise.all([liveness.close(), sweeping.close(), inFlight.drain(REQUEST_DEFAULTS.drainMs)]);
      store.close();
    },
  };
}
