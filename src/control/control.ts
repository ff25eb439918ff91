// A whole control plane in one process: store, keys, loops and the API, opened together and closed together.
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { errorResponse } from '../base/errors.ts';
import { createId, createSecret, type RandomBytes } from '../base/id.ts';
import { CONTROL_BOUNDS, CONTROL_DEFAULTS, CONTROL_TUNING } from '../base/limits/control.ts';
import { REQUEST_DEFAULTS } from '../base/limits/request.ts';
import type { Log } from '../base/log.ts';
import { startLoop } from '../base/loop.ts';
import type { Metrics } from '../base/metrics.ts';
import { openDiskArtifacts } from '../store/artifacts/artifacts.ts';
import type { Migration } from '../store/database/database.ts';
import { createPrivateFiles, type PrivateFiles } from '../store/data_dir.ts';
import { openStore, type Store } from '../store/store.ts';
import { tokenHash } from './auth/access.ts';
import type { ApiParts } from './api/resource.ts';
import { createControlApp } from './http/app.ts';
import { createCalls } from './http/calls.ts';
import { createDesiredStates } from './sync/desired_states.ts';
import { startFleetLoop } from './sync/fleet_loop.ts';
import { createGate } from '../base/concurrency.ts';
import { createHeartbeats } from './sync/heartbeats.ts';
import { createIdempotency } from './http/idempotency.ts';
import { type ControlKeys, openKeys } from './auth/keys.ts';
import { createNotifier, type Notifier } from './sync/notifier.ts';
import { createProgressReader } from './sync/progress.ts';
import type { ModuleCheck } from '../model/wasm/check.ts';
import { createPublisher } from './publish/publisher.ts';
import { createUploadUrls } from './publish/upload_urls.ts';

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
  /** Where keys and the admin token are kept; files of the data directory by default. */
  files?: PrivateFiles;
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

const ADMIN_TOKEN_FILE = 'admin-token';

/** Throws a sentence for the operator where the data directory cannot be used. */
export async function createControl(options: ControlOptions): Promise<Control> {
  const { dataDir, clock, random, log } = options;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const path = join(dataDir, 'control.db');
  await createPrivately(path);
  const revised = createNotifier({ clock });
  const store = openStore({
    path,
    migrations: options.migrations,
    clock,
    onCommit: () => revised.wake(),
  });
  try {
    const files = options.files ?? createPrivateFiles({ dir: dataDir });
    const keys = await openKeys({ files, random });
    const newAdminToken = await ensureAdminToken({ store, files, random });
    return await start(options, { store, keys, revised, newAdminToken, log });
  } catch (failure) {
    await store.close();
    throw failure;
  }
}

/** SQLite gives its other files the mode of this one; rows hold what guests read with `env_get`. */
async function createPrivately(path: string): Promise<void> {
  const file = await open(path, 'a', 0o600);
  await file.close();
}

/** The file comes first: a start that ends between the two makes a new token instead of none. */
async function ensureAdminToken(options: {
  store: Store;
  files: PrivateFiles;
  random: RandomBytes;
}): Promise<string | null> {
  const { store, files, random } = options;
  if ((await store.tokens.adminCount()) > 0) return null;
  const token = createSecret('edge_admin', random);
  await files.write(ADMIN_TOKEN_FILE, `${token}\n`);
  await store.tokens.addAdmin({ hash: tokenHash(token), name: 'first', actor: 'control' });
  return token;
}

async function start(
  options: ControlOptions,
  opened: { store: Store; keys: ControlKeys; revised: Notifier; newAdminToken: string | null; log: Log },
): Promise<Control> {
  const { clock, random, log, metrics } = options;
  const { store, keys, revised } = opened;
  const newId = (prefix: string): string => createId(prefix, clock.nowMs(), random);
  const artifacts = await openDiskArtifacts({
    dir: join(options.dataDir, 'artifacts'),
    nextName: () => newId('in'),
  });
  const reported = createNotifier({ clock });
  const polls = createGate({ max: CONTROL_BOUNDS.longPollsMax });
  const states = createDesiredStates({ facts: store.facts, revised });
  const shared = { store, states, revised, reported, polls, clock };
  const heartbeats = createHeartbeats({ ...shared, random, log });
  const parts: ApiParts = {
    store,
    artifacts,
    keys,
    states,
    clock,
    calls: createCalls(),
    uploadUrls: createUploadUrls({
      keys,
      nowMs: clock.nowMs,
      ttlMs: CONTROL_DEFAULTS.uploadUrlTtlMs,
      publicUrl: options.publicUrl ?? null,
    }),
    publisher: createPublisher({ store, artifacts, checkModule: options.checkModule }),
    uploads: createGate({ max: CONTROL_BOUNDS.uploadsMax }),
    heartbeats,
    progress: createProgressReader(shared),
    productVersion: options.productVersion,
    newId,
    newSecret: (prefix) => createSecret(prefix, random),
    onNodeRemoved: (nodeId) => {
      heartbeats.forget(nodeId);
      metrics.forget('node_id', nodeId);
    },
  };
  const inFlight = createInFlight();
  const idempotency = createIdempotency({ answers: store.idempotency, random, nowMs: clock.nowMs });
  const app = createControlApp({ parts, idempotency, log, metrics, random });
  metrics.collected({
    name: 'control_held_polls',
    help: 'Requests that wait for something to move.',
    kind: 'gauge',
    read: () => [{ value: polls.inside }],
  });
  const fleet = startFleetLoop({ store, clock, log, metrics, onOffline: () => reported.wake() });
  const sweep = async (): Promise<number> => {
    await store.idempotency.sweep();
    return CONTROL_TUNING.sweepMs;
  };
  const sweeping = startLoop({ name: 'sweep', clock, log, failedMs: CONTROL_TUNING.sweepMs, step: sweep });
  return {
    handle: inFlight.track(app.handle),
    newAdminToken: opened.newAdminToken,
    publicKey: keys.publicKey,
    async close() {
      revised.close();
      reported.close();
      await Promise.all([fleet.close(), sweeping.close(), inFlight.drain(clock)]);
      await store.close();
    },
  };
}

type Handle = (request: Request) => Promise<Response>;

/**
 * Knows the requests that run, so that closing can wait for them; later ones are refused with
 * `shutting_down`.
 */
function createInFlight(): { track(handle: Handle): Handle; drain(clock: Clock): Promise<void> } {
  const running = new Set<Promise<Response>>();
  let closing = false;
  return {
    track: (handle) => async (request) => {
      if (closing) return errorResponse('shutting_down', 'none');
      const answer = handle(request);
      running.add(answer);
      try {
        return await answer;
      } finally {
        running.delete(answer);
      }
    },
    async drain(clock) {
      closing = true;
      const late = new AbortController();
      await Promise.race([Promise.allSettled(running), clock.sleep(REQUEST_DEFAULTS.drainMs, late.signal)]);
      late.abort();
    },
  };
}
