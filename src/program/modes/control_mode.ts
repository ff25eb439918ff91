// Starts a control plane with its socket, and leaves the profile that the CLI finds.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openAssets, versionOfProgram } from '../embedded/assets.ts';
import { createModuleCheck } from '../roles/module_check.ts';
import type { Log } from '../../base/log.ts';
import { openHeapKeeper } from '../../base/heap.ts';
import { createMetrics, type Metrics } from '../../base/metrics.ts';
import { CliFailure } from '../../cli/failure.ts';
import { profilePath, writeProfile } from '../../cli/profile.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { type Control, createControl } from '../../control/control.ts';
import { listenControl } from '../../control/http/listen.ts';
import { openMetricsListener } from '../../edge/figures/metrics_listener.ts';
import type { ListenAddress } from '../../model/listen_address.ts';
import type { Migration } from '../../store/database/database.ts';
import type { Context } from './context.ts';
import { binding, claim, commandOfProgram, openLog, reachable, stopSignal } from './lifetime.ts';

const ADMIN_TOKEN_FILE = 'admin-token';

export type ControlPlane = {
  readonly control: Control;
  /** How this machine reaches it. */
  readonly url: string;
  /** For the profile and for what `up` asks of its own control plane; throws when the file is gone. */
  adminToken(): string;
  writeProfile(edgeUrl: string | null): void;
};

/** What is opened is closed by `closing`, in reverse order. */
export async function openControlPlane(options: {
  settings: { dataDir: string; cpListen: ListenAddress; cpPublicUrl: string | null };
  context: Context;
  log: Log;
  metrics: Metrics;
  closing: AsyncDisposableStack;
}): Promise<ControlPlane> {
  const { settings, context, log, metrics, closing } = options;
  const { dataDir, cpListen, cpPublicUrl } = settings;
  claim(dataDir, 'control', closing);
  const control = await createControl({
    dataDir,
    migrations: readMigrations(),
    checkModule: createModuleCheck({ self: commandOfProgram() }),
    productVersion: versionOfProgram(),
    clock: context.clock,
    random: context.random,
    log,
    metrics,
    ...(cpPublicUrl === null ? {} : { publicUrl: cpPublicUrl }),
  });
  await using opened = new AsyncDisposableStack();
  opened.defer(() => control.close());
  const { host: hostname, port } = cpListen;
  const listener = await binding([{ flag: '--cp-listen', address: cpListen }], () =>
    listenControl({ control, hostname, port }),
  );
  closing.defer(() => listener.close());
  // Closed before its listener, so that held heartbeats are answered.
  closing.defer(() => control.close());
  opened.move();
  const url = reachable(cpListen, listener.port);
  return {
    control,
    url,
    adminToken: () => readAdminToken(dataDir),
    writeProfile(edgeUrl) {
      writeProfile(profilePath(dataDir), {
        url: cpPublicUrl ?? url,
        token_file: ADMIN_TOKEN_FILE,
        edge_url: edgeUrl,
      });
    },
  };
}

/** `--mode=cp`. */
export async function runControl(settings: SettingsOf<'cp'>, context: Context): Promise<number> {
  const stopped = stopSignal();
  const log = openLog(context, { level: settings.logLevel, isQuiet: false });
  const metrics = createMetrics();
  await using closing = new AsyncDisposableStack();
  closing.use(openHeapKeeper());
  const plane = await openControlPlane({ settings, context, log, metrics, closing });
  const { metricsListen } = settings;
  const listener = await binding([{ flag: '--metrics-listen', address: metricsListen }], () =>
    openMetricsListener({ listen: metricsListen, metrics, isReady: () => true }),
  );
  closing.defer(() => listener.close());
  plane.writeProfile(settings.edgeUrl);
  const { terminal } = context;
  terminal.note(`control plane  ${plane.url}`);
  terminal.note(`metrics        ${reachable(metricsListen, listener.port)}/metrics`);
  terminal.note(
    `data           ${settings.dataDir} (the admin token is in ${join(settings.dataDir, ADMIN_TOKEN_FILE)})`,
  );
  const token = `"$(edge join-token --data-dir ${settings.dataDir})"`;
  terminal.note(`next           edge --mode=edge --cp-url ${plane.url} --join-token ${token}`);
  log.info('stopping', { signal: await stopped });
  return 0;
}

function readMigrations(): Migration[] {
  const dir = join(openAssets().migrationsDir, 'sqlite');
  const names = readdirSync(dir).filter((name) => name.endsWith('.sql'));
  return names.toSorted().map((name) => ({ name, sql: readFileSync(join(dir, name), 'utf8') }));
}

function readAdminToken(dataDir: string): string {
  const path = join(dataDir, ADMIN_TOKEN_FILE);
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    throw new CliFailure('admin_token_missing', `${path} cannot be read, and this step needs it.`, {
      hint: 'Put the token back, or start with another --data-dir.',
    });
  }
}
