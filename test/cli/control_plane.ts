// A control plane in a temporary directory, and a CLI that calls its handler without a socket.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, createSystemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/id.ts';
import { createLog } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { type Api, createApi } from '../../src/cli/api.ts';
import { createTerminal, type Terminal } from '../../src/cli/terminal.ts';
import { createControl } from '../../src/control/control.ts';
import { checkHere } from '../../src/program/roles/module_check.ts';

const MIGRATIONS = join(import.meta.dir, '../../migrations/sqlite');

export type Recorder = Terminal & { out: string[]; err: string[] };

/** A terminal that records what is written. */
export function createRecorder(clock = createSystemClock(), isTTY = false): Recorder {
  const out: string[] = [];
  const err: string[] = [];
  const stdout = { write: (text: string) => out.push(text) };
  const stderr = { write: (text: string) => err.push(text), isTTY };
  return { ...createTerminal({ stdout, stderr, clock }), out, err };
}

export type TestControl = {
  api: Api;
  terminal: Recorder;
  clock: Clock;
  /** Every request as `METHOD /path`. */
  calls: string[];
  /** The API for the bearer of another token. */
  withToken(token: string): Api;
  close(): Promise<void>;
};

export async function openTestControl(): Promise<TestControl> {
  const dataDir = mkdtempSync(join(tmpdir(), 'edge-cli-'));
  const clock = createSystemClock();
  const names = readdirSync(MIGRATIONS).filter((name) => name.endsWith('.sql'));
  const control = await createControl({
    dataDir,
    migrations: names.map((name) => ({ name, sql: readFileSync(join(MIGRATIONS, name), 'utf8') })),
    checkModule: async (bytes, options) => checkHere(bytes, options),
    productVersion: '0.0.0',
    clock,
    random: systemRandom,
    log: createLog({ clock, write: () => undefined }),
    metrics: createMetrics(),
  });
  const calls: string[] = [];
  let commands = 0;
  const withToken = (token: string): Api =>
    createApi({
      connection: { url: 'http://control', token, edgeUrl: 'http://edge:3000' },
      fetch: (url, init) => {
        calls.push(`${init.method} ${new URL(url).pathname.replaceAll(/_[0-9a-z]{26}/g, '_ID')}`);
        return control.handle(new Request(url, init));
      },
      clock,
      random: () => 0,
      commandKey: `command-${(commands += 1)}`,
    });
  return {
    api: withToken(control.newAdminToken ?? ''),
    withToken,
    terminal: createRecorder(clock),
    clock,
    calls,
    async close() {
      await control.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
