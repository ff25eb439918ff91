// Wires a control plane and its socket, and writes the profile that the CLI reads.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OPEN_FILES } from '../../base/limits/files.ts';
import type { Log } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import { CliFailure } from '../../cli/failure.ts';
import { profilePath, writeProfile } from '../../cli/profile.ts';
import { type Control, createControl } from '../../control/control.ts';
import { listenControl } from '../../control/listen.ts';
import type { ListenAddress } from '../../model/listen_address.ts';
import type { Migration } from '../../store/database/database.ts';
import { commandOfProgram } from '../child.ts';
import { openAssets, versionOfProgram } from '../embedded/assets.ts';
import { createModuleCheck } from '../roles/module_check.ts';
import type { Context } from './context.ts';
import { claimDataDir, explainBindFailures, localUrl, openFailpoints } from './lifetime.ts';

export const ADMIN_TOKEN_FILE = 'admin-token';

/** What the control plane and its clients open at one time. */
export async function openFilesOfControl(control: Control): Promise<{ what: string; files: number }[]> {
  const nodes = Math.max(OPEN_FILES.nodesMin, await control.nodeCount());
  return [
    { what: 'clients of the API', files: OPEN_FILES.clients },
    { what: `${nodes} nodes`, files: nodes * OPEN_FILES.perNode },
  ];
}

export type ControlPlane = {
  readonly control: Control;
  /** The URL under which this machine reaches it. */
  readonly url: string;
  /** Throws when the token's file is gone. */
  adminToken(): string;
  /** `edgeUrl` is the URL of the functions; null where it is not known. */
  writeProfile(edgeUrl: string | null): Promise<void>;
};

/** Opens the control plane of a data directory; `closing` closes its parts in reverse order. */
export async function wireControlPlane(options: {
  settings: {
    dataDir: string;
    cpListen: ListenAddress;
    cpPublicUrl: string | null;
    nodeOfflineSecs: number;
    newSigningKey: boolean;
  };
  context: Context;
  log: Log;
  metrics: Metrics;
  closing: AsyncDisposableStack;
}): Promise<ControlPlane> {
  const { settings, context, log, metrics, closing } = options;
  const { dataDir, cpListen, cpPublicUrl } = settings;
  claimDataDir(dataDir, 'control', closing);
  const control = await createControl({
    dataDir,
    migrations: readMigrations(),
    checkModule: createModuleCheck({ self: commandOfProgram() }),
    productVersion: versionOfProgram(),
    clock: context.clock,
    random: context.random,
    log,
    metrics,
    failpoints: openFailpoints(context, log),
    nodeOfflineMs: settings.nodeOfflineSecs * 1_000,
    lostSigningKey: settings.newSigningKey ? 'replace' : 'refuse',
    ...(cpPublicUrl === null ? {} : { publicUrl: cpPublicUrl }),
  });
  await using opened = new AsyncDisposableStack();
  opened.defer(() => control.close());
  const { host: hostname, port } = cpListen;
  const listener = await explainBindFailures([{ flag: '--cp-listen', address: cpListen }], () =>
    listenControl({ control, hostname, port }),
  );
  closing.defer(() => listener.close());
  // The control plane closes before its listener, so that the heartbeats it holds get their answers.
  closing.defer(() => control.close());
  opened.move();
  const url = localUrl(cpListen, listener.port);
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
    throw new CliFailure('admin_token_missing', `${path}, which \`edge up\` needs here, cannot be read.`, {
      hint: 'Put the admin token back into this file, or start with another --data-dir.',
    });
  }
}
