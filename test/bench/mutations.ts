// Mutations of the store per second, one at a time and 32 at once, and reads that run beside writes.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createSystemClock } from '../../src/base/clock.ts';
import { defaultVersionSettings } from '../../src/model/function.ts';
import type { ObservedFunction } from '../../src/model/protocol.ts';
import { EVERY_NODE } from '../../src/model/target/target.ts';
import type { NodeHeartbeat } from '../../src/store/nodes/reports.ts';
import type { openStore, Store } from '../../src/store/store.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 7);
/** Of each mutation in each round. */
const COUNT = Number(process.env['BENCH_COUNT'] ?? 1_000);
/** Operations before each measurement: the first thousands run in code that is not compiled yet. */
const WARM_UP = 1_000;
const AT_ONCE = 32;
const FUNCTIONS = 100;
const NODES = 64;
const FUNCTIONS_PER_NODE = 20;
const WRITERS = 4;
const READERS = 16;
const THIS_TREE = resolve(import.meta.dir, '../..');
const actor = 'admin:bench';

/** `cpuMicros`: processor time of one operation, which other programs disturb least. */
type Figures = { perSecond: number; cpuMicros: number };
type Round = Record<string, Figures>;

function open(opener: typeof openStore, directory: string): Store {
  const migrations = join(THIS_TREE, 'migrations', 'sqlite');
  const names = readdirSync(migrations).filter((name) => name.endsWith('.sql'));
  return opener({
    path: join(directory, 'control.db'),
    migrations: names.map((name) => ({ name, sql: readFileSync(join(migrations, name), 'utf8') })),
    clock: createSystemClock(),
    onCommit: () => {},
  });
}

async function createFunction(store: Store, id: string): Promise<void> {
  await store.functions.create({
    id,
    project_id: 'default',
    name: id,
    pop_selector: null,
    version: '1.0.0',
    settings: defaultVersionSettings,
    actor,
  });
}

async function deploy(store: Store, id: string, functionAt: number): Promise<void> {
  const wanted = { version: undefined, target: EVERY_NODE, from: null, allow_empty: true };
  await store.deployments.deploy({ function_id: functionId(functionAt), ...wanted, newId: () => id, actor });
}

/** Each report is due, so that each is written. */
async function report(store: Store, nodeAt: number, revision: number): Promise<void> {
  const heartbeat: NodeHeartbeat = {
    status: 'online',
    edge_version: '0.1.0',
    cpu_percent: 1,
    mem_bytes: 1_000,
    labels: { region: 'north' },
    functions: observations,
    applied_revision: revision,
    applied_digest: null,
  };
  await store.nodes.report(nodeId(nodeAt), heartbeat, { isDue: true });
}

const functionId = (at: number): string => `fn_${String(at % FUNCTIONS).padStart(4, '0')}`;
const nodeId = (at: number): string => `node-${at % NODES}`;
const observations: ObservedFunction[] = Array.from({ length: FUNCTIONS_PER_NODE }, (_, at) => {
  const figures = { invocation_count: 0, error_count: 0, avg_latency_ms: 0, p99_ms: 0 };
  return { id: functionId(at), version: '1.0.0', state: 'cached', error: null, execution: null, ...figures };
});

async function fill(store: Store): Promise<void> {
  for (let at = 0; at < FUNCTIONS; at += 1) {
    const key = { function_id: functionId(at), version: '1.0.0' };
    await createFunction(store, key.function_id);
    await store.versions.publish({ ...key, sha256: `sha-${at}`, size_bytes: 1, report: null, actor });
  }
  for (let at = 0; at < NODES; at += 1) {
    const hash = `join-${at}`;
    const token = { hash, node_id: null, pop_id: null, labels: {}, ttl_ms: 3_600_000 };
    await store.nodes.addJoinToken({ ...token, actor });
    const node = { node_id: nodeId(at), pop_id: 'pop', labels: {}, edge_version: '0.1.0', public_key: hash };
    await store.nodes.join({ ...node, join_token_hash: hash, token_hash: `token-${at}` });
    await report(store, at, 0);
  }
}

/** A closed loop: each of `atOnce` starts the next operation as soon as its own is done. */
async function measure(
  count: number,
  atOnce: number,
  operation: (at: number) => Promise<unknown>,
): Promise<Figures> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      await operation(next);
    }
  };
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  await Promise.all(Array.from({ length: atOnce }, work));
  const ms = performance.now() - startMs;
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: (count / ms) * 1_000, cpuMicros: (user + system) / count };
}

/** Writers deploy until the readers are done; only the reads are counted. */
async function readsBesideWrites(store: Store): Promise<{ reads: Figures; writes: Figures }> {
  let written = 0;
  let reading = true;
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  const write = async (): Promise<void> => {
    while (reading) {
      written += 1;
      await deploy(store, `dp_beside_${written}`, written);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const writers = Promise.all(Array.from({ length: WRITERS }, write));
  const reads = await measure(COUNT * 10, READERS, async (at) => {
    if (at % 2 === 0) await store.tokens.holderOf(`token-${at % NODES}`);
    else await store.functions.get(functionId(at));
    await new Promise((resolve) => setImmediate(resolve));
  });
  reading = false;
  await writers;
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - startMs) / 1_000;
  return { reads, writes: { perSecond: written / seconds, cpuMicros: (user + system) / written } };
}

/** One round in a process and a database of its own. */
async function round(tree: string): Promise<Round> {
  const { openStore: opener } = (await import(join(tree, 'src/store/store.ts'))) as {
    openStore: typeof openStore;
  };
  const directory = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'edge-mutations-'));
  const store = open(opener, directory);
  try {
    await fill(store);
    const figures: Round = {};
    for (const atOnce of [1, AT_ONCE]) {
      const run = async (name: string, operation: (at: number) => Promise<unknown>): Promise<void> => {
        await measure(WARM_UP, atOnce, (at) => operation(-at));
        figures[`${name}, ${atOnce} at once`] = await measure(COUNT, atOnce, operation);
      };
      await run('functions.create', (at) => createFunction(store, `fn_new_${atOnce}_${at}`));
      await run('deployments.deploy', (at) => deploy(store, `dp_${atOnce}_${at}`, Math.abs(at)));
      await run('nodes.report', (at) => report(store, Math.abs(at), atOnce * 1_000_000 + at));
    }
    const { reads, writes } = await readsBesideWrites(store);
    figures['reads beside writes'] = reads;
    figures['writes beside reads'] = writes;
    return figures;
  } finally {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function roundInChild(tree: string): Promise<Round> {
  const child = Bun.spawn([process.execPath, import.meta.path, '--round', tree], { stdout: 'pipe' });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`a round of ${tree} failed`);
  return JSON.parse(text) as Round;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

function print(mine: readonly Round[], other: readonly Round[]): void {
  for (const name of Object.keys(mine[0] ?? {})) {
    const of = (rounds: readonly Round[], figure: keyof Figures): number =>
      median(rounds.map((one) => one[name]?.[figure] ?? 0));
    const here = `${of(mine, 'perSecond').toFixed(0)}/s ${of(mine, 'cpuMicros').toFixed(0)} µs CPU`;
    if (other.length === 0) {
      process.stdout.write(`${name.padEnd(30)} ${here}\n`);
      continue;
    }
    const there = `${of(other, 'perSecond').toFixed(0)}/s ${of(other, 'cpuMicros').toFixed(0)} µs CPU`;
    // Turns that follow each other saw the same machine: the ratio is taken per turn.
    const ratio = (figure: keyof Figures): string =>
      median(mine.map((one, at) => (one[name]?.[figure] ?? 0) / (other[at]?.[name]?.[figure] ?? 1))).toFixed(
        2,
      );
    const ratios = `ratio ${ratio('perSecond')}, CPU ${ratio('cpuMicros')}`;
    process.stdout.write(`${name.padEnd(30)} ${here.padEnd(24)} other ${there.padEnd(24)} ${ratios}\n`);
  }
}

/**
 * `bun test/bench/mutations.ts` measures this tree; with the root of another tree as its argument, both by
 * turns. `BENCH_DIR` chooses the file system of the databases.
 */
const [first, second] = process.argv.slice(2);
if (first === '--round') {
  process.stdout.write(JSON.stringify(await round(second ?? THIS_TREE)));
} else {
  const mine: Round[] = [];
  const other: Round[] = [];
  for (let turn = 0; turn < ROUNDS; turn += 1) {
    const order = turn % 2 === 0 ? [mine, other] : [other, mine];
    for (const rounds of order) {
      if (rounds === mine) mine.push(await roundInChild(THIS_TREE));
      else if (first !== undefined) other.push(await roundInChild(resolve(first)));
    }
  }
  print(mine, other);
}
