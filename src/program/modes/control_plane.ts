// Wires a control plane with its socket, and leaves the profile that the CLI finds.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import { CliFailure } from '../../cli/failure.ts';
import { profilePath, writeProfile } from '../../cli/profile.ts';
import { type Control, createControl } from '../../control/control.ts';
import { listenControl } from '../../control/http/listen.ts';
import type { ListenAddress } from '../../model/listen_address.ts';
import type { Migration } from '../../store/sqlite/migrate.ts';
import { commandOfProgram } from '../child.ts';
import { openAssets, versionOfProgram } from '../embedded/assets.ts';
import { createModuleCheck } from '../roles/module_check.ts';
import type { Context } from './context.ts';
import { binding, claim, reachable } from './lifetime.ts';

export const ADMIN_TOKEN_FILE = 'admin-token';

export type ControlPlane = {
  readonly control: Control;
  /** How this machine reaches it. */
  readonly url: string;
  /** For the profile and for what `up` asks of its own control plane; throws when the file is gone. */
  adminToken(): string;
  writeProfile(edgeUrl: string | null): Promise<void>;
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
    writeProfile: (edgeUrl) =>
      writeProfile(profilePath(dataDir), {
        url: cpPublicUrl ?? url,
        token_file: ADMIN_TOKEN_FILE,
        edge_url: edgeUrl,
      }),
  };
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
