// Metrics that are read from the parts of a node whenever somebody asks for /metrics.
import type { Metrics } from '../../base/metrics.ts';
import type { EngineStats, PoolStats } from '../../engine/engine.ts';
import { WALL_STATES, type WallReport } from '../../model/wall.ts';
import type { MachineReading } from './machine.ts';

/** The parts of a node that keep their own counts. */
export type FigureSources = {
  engine: () => EngineStats;
  wall: () => WallReport;
  pools: () => Iterable<{ functionId: string; stats: PoolStats }>;
  cache: () => { entries: number; bytes: number };
  /** Revision of the accepted desired state; 0 before the first. */
  revision: () => number;
  /** The node and its control plane refuse each other. */
  isDiverged: () => boolean;
};

type Collect = (kind: 'counter' | 'gauge', name: string, help: string, value: () => number) => void;

const createCollect =
  (metrics: Metrics): Collect =>
  (kind, name, help, value) =>
    metrics.collected({ kind, name, help, read: () => [{ value: value() }] });

export function collectMachine(metrics: Metrics, machine: () => MachineReading): void {
  const collect = createCollect(metrics);
  collect('gauge', 'edge_node_up', '1 while this node runs.', () => 1);
  collect('gauge', 'node_memory_bytes', 'Resident memory of the edge process.', () => machine().memBytes);
  collect('gauge', 'node_cpu_percent', 'Load of all processors of the machine.', () => machine().cpuPercent);
}

export function collectSources(metrics: Metrics, sources: FigureSources): void {
  const collect = createCollect(metrics);
  const { engine, pools, cache, revision, isDiverged, wall } = sources;
  collect('gauge', 'edge_desired_revision', 'Revision of the accepted desired state.', revision);
  const apart = '1 while this node and its control plane refuse each other: the log says what to do.';
  collect('gauge', 'edge_diverged', apart, () => (isDiverged() ? 1 : 0));
  collect('gauge', 'wasm_cache_entries', 'Artifacts in the cache.', () => cache().entries);
  collect('gauge', 'wasm_cache_bytes', 'Bytes of the artifacts in the cache.', () => cache().bytes);
  collect('gauge', 'wasm_engine_workers', 'Workers of all pools.', () => engine().workers);
  collect('gauge', 'wasm_engine_workers_busy', 'Workers that run an invocation.', () => engine().busy);
  collect('counter', 'wasm_engine_restarts_total', 'Engine process restarts.', () => engine().restarts);
  collect('counter', 'wasm_workers_killed_total', 'Workers killed at a deadline.', () => engine().killed);
  collect('counter', 'wasm_workers_crashed_total', 'Workers that crashed.', () => engine().crashed);
  collectWall(metrics, wall);
  collectCompiler(collect, () => engine().compile);
  for (const part of ['workers', 'idle', 'busy', 'starting', 'queued'] as const) {
    metrics.collected({
      kind: 'gauge',
      name: `wasm_pool_${part}`,
      help: part === 'queued' ? 'Invocations that wait for a worker.' : `Workers of a function: ${part}.`,
      labels: ['function_id'],
      *read() {
        for (const { functionId, stats } of pools()) {
          yield { labels: { function_id: functionId }, value: stats[part] };
        }
      },
    });
  }
}

/** One series per part and state: 1 for the state that the part is in. */
function collectWall(metrics: Metrics, wall: () => WallReport): void {
  metrics.collected({
    kind: 'gauge',
    name: 'edge_wall_part',
    help: 'Parts of the wall around guests: 1 for the state that each is in.',
    labels: ['part', 'state'],
    *read() {
      for (const { part, state: found } of wall()) {
        for (const state of WALL_STATES) yield { labels: { part, state }, value: state === found ? 1 : 0 };
      }
    },
  });
}

function collectCompiler(collect: Collect, counts: () => EngineStats['compile']): void {
  collect('counter', 'wasm_compiles_total', 'Artifacts compiled to machine code.', () => counts().compiled);
  const failed = 'Artifacts that could not be compiled and run in the interpreter.';
  collect('counter', 'wasm_compile_failures_total', failed, () => counts().failed);
  const seconds = (): number => counts().compile_ms_total / 1_000;
  collect('counter', 'wasm_compile_seconds_total', 'Time spent compiling.', seconds);
  collect('gauge', 'wasm_compile_queue', 'Artifacts that wait for the compiler.', () => counts().queued);
  const hits = 'Compiled files found in the cache of compiled code.';
  collect('counter', 'wasm_code_cache_hits_total', hits, () => counts().cache_hits);
  const misses = 'Compiled files that the cache of compiled code did not have.';
  collect('counter', 'wasm_code_cache_misses_total', misses, () => counts().cache_misses);
}
