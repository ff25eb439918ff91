// One cell of the matrix: an `edge up` as one user, on a machine with or without Landlock.
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { rssMb } from '../bench/proc.ts';
import { childrenOf, publish, startUp, temporaryDirectory, type Up, until } from '../system/harness.ts';
import { readGuest } from '../fixtures/manifest.ts';
import type { Built } from './executable.ts';
import { answerOf, fewestFiles, probe, type Probed } from './probe.ts';

/** A user that no other process is. */
const ORDINARY_USER = 65_533;
const EXECUTION_MS = 300;
/** The neighbour waits for the processor too: it is not judged by its time here. */
const NEIGHBOUR_MS = 20_000;
const ARGUMENTS =
  '--invocations-per-minute 100000000 --concurrent-per-project 1000 --max-hot-instances 128 --node-workers-max 256';

export type CellKind = { user: 'root' | 'ordinary'; landlock: 'with' | 'without' };

export const CELLS: readonly CellKind[] = (['root', 'ordinary'] as const).flatMap((user) =>
  (['with', 'without'] as const).map((landlock) => ({ user, landlock })),
);

export type Figures = { files: number; zygoteFiles: number; mb: number; zygoteMb: number };

export type Cell = {
  readonly up: Up;
  readonly zygote: number;
  /** Publishes a fixture under its own host, or a refused one with the error that the node reported. */
  deploy(name: string, file: string, settings?: Record<string, unknown>): Promise<Deployed>;
  /** Asks the neighbour with secrets, which it must answer with, until it is stopped. */
  probe(): { stop(): Promise<Probed> };
  /** Once no worker is left but those of the neighbour. */
  settled(): Promise<Figures>;
  close(): Promise<void>;
};

export type Deployed = { id: string; host: string; states: string[] };

export async function openCell(built: Built, { user, landlock }: CellKind): Promise<Cell> {
  const isRoot = process.geteuid?.() === 0;
  if (user === 'root' && !isRoot) throw new Error('only root can run a cell as root');
  const directory = temporaryDirectory();
  const [data, cache] = [join(directory.path, 'data'), join(directory.path, 'cache')];
  for (const path of [data, cache]) mkdirSync(path, { mode: 0o700 });
  chmodSync(directory.path, 0o755);
  const becomes = isRoot && user === 'ordinary';
  if (becomes) for (const path of [data, cache]) chownSync(path, ORDINARY_USER, ORDINARY_USER);
  const env = {
    LAUNCH_PROGRAM: built.program,
    HOME: data,
    XDG_CACHE_HOME: cache,
    ...(becomes ? { LAUNCH_USER: String(ORDINARY_USER) } : {}),
    ...(landlock === 'without' ? { LAUNCH_WITHOUT_LANDLOCK: '1' } : {}),
  };
  const up = await startUp(data, { program: built.launcher, env, args: ARGUMENTS.split(' ') });
  const zygote = await up.zygote();
  const deploy: Cell['deploy'] = async (name, file, settings = {}) => {
    const host = `${name}.test`;
    const bytes = await readGuest(file);
    const published = await publish(up, bytes, { name, host, settings });
    if (!published.ok) throw new Error(`${name}: ${published.status} ${published.code}`);
    const states = published.nodes.map(({ state, error }) => `${state} ${error ?? ''}`.trim());
    return { id: published.functionId, host, states };
  };
  const secret = `CANARY-${Bun.randomUUIDv7()}`;
  await deploy('neighbour', 'echo/echo.wasm', { env: { SECRET: secret }, max_execution_ms: NEIGHBOUR_MS });
  const headers = { host: 'neighbour.test', cookie: `session=${secret}`, authorization: `Bearer ${secret}` };
  const path = `/me?token=${secret}`;
  return {
    up,
    zygote,
    deploy,
    probe: () =>
      probe(
        () => answerOf(`${up.publicUrl}${path}`, headers),
        (answer) =>
          answer.startsWith(`200 GET ${path}\n`) &&
          answer.includes(`cookie: session=${secret}\r\n`) &&
          answer.includes(`authorization: Bearer ${secret}\r\n`),
      ),
    async settled() {
      await until('only workers of the neighbour are left', () => childrenOf(zygote).length <= 1, 30_000);
      return {
        files: await fewestFiles(up.pid),
        zygoteFiles: await fewestFiles(zygote),
        mb: rssMb(up.pid),
        zygoteMb: rssMb(zygote),
      };
    },
    async close() {
      await up.close();
      directory[Symbol.dispose]();
    },
  };
}

/** Undeploys and deletes. */
export async function remove({ up }: Cell, { id }: Deployed): Promise<void> {
  const undeployed = await up.api('POST', `/functions/${id}/undeploy`, {});
  if (undeployed.status !== 200) throw new Error(JSON.stringify(undeployed));
  const headers = { authorization: `Bearer ${up.token}` };
  await fetch(`${up.controlUrl}/api/v1/functions/${id}`, { method: 'DELETE', headers });
}

/** Tells a function whose workers attack what to do, and asks it twice; the answers as status and code. */
export async function attack(cell: Cell, name: string): Promise<string[]> {
  const settings = { env: { ATTACK: name }, max_execution_ms: EXECUTION_MS };
  const deployed = await cell.deploy(`attack-${name}`, 'hello/hello-c.wasm', settings);
  const answers: string[] = [];
  for (let asked = 0; asked < 2; asked += 1) {
    const answer = await answerOf(cell.up.publicUrl, { host: deployed.host });
    answers.push(/^(\d+) (?:\{"error":\{"code":"(\w+)")?/.exec(answer)?.slice(1).join(' ').trim() ?? answer);
  }
  await remove(cell, deployed);
  return answers;
}
