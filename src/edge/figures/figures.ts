// The figures of an edge by their Prometheus names (spec 8), with the series of the hot path kept at hand.
import type { ErrorCode } from '../../base/errors.ts';
import type { CounterSeries, HistogramSeries, Metrics } from '../../base/metrics.ts';
import type { EngineStats, PoolStats } from '../../engine/engine.ts';
import type { Latency } from './latency.ts';
import { createLatency, observeLatency } from './latency.ts';
import type { MachineReading } from './machine.ts';

const LATENCY_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const COMPILE_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** More codes than the error table has. */
const CODES_MAX = 256;

/** What one version has done since it was first opened; read by the heartbeat. */
export type VersionFigures = {
  readonly latency: Latency;
  errorCount: number;
  /** An invocation reached the pool and ended. */
  invoked(elapsedMs: number): void;
  /** An invocation or its answer failed with this code. */
  failed(code: ErrorCode): void;
};

export type EdgeFigures = {
  openVersion(functionId: string): VersionFigures;
  /** A request that no function saw. */
  refused(code: ErrorCode): void;
  quotaRefused(code: ErrorCode): void;
  cacheRead(result: 'hit' | 'miss' | 'quarantined'): void;
  heartbeat(result: 'ok' | 'refused' | 'unreachable' | 'unauthenticated'): void;
  pulled(result: 'ok' | 'failed', bytes: number): void;
  prepared(result: 'aot' | 'interpreter' | 'refused', seconds: number): void;
  forgetFunction(functionId: string): void;
};

export type FigureSources = {
  machine: () => MachineReading;
  engine: () => EngineStats;
  pools: () => Iterable<{ functionId: string; stats: PoolStats }>;
  cache: () => { entries: number; bytes: number };
  revision: () => number;
};

/** Reads `sources` when somebody asks for the figures, never on a request. */
function collectSources(metrics: Metrics, sources: FigureSources): void {
  const one = (kind: 'counter' | 'gauge', name: string, help: string, value: () => number): void =>
    metrics.collected({ kind, name, help, read: () => [{ value: value() }] });
  one('gauge', 'edge_node_up', 'This node is up.', () => 1);
  one('gauge', 'node_memory_bytes', 'Resident memory of the edge process.', () => sources.machine().memBytes);
  one(
    'gauge',
    'node_cpu_percent',
    'Load of all processors of the machine.',
    () => sources.machine().cpuPercent,
  );
  one('gauge', 'edge_desired_revision', 'Revision of the accepted desired state.', sources.revision);
  one('gauge', 'wasm_cache_entries', 'Artifacts in the cache.', () => sources.cache().entries);
  one('gauge', 'wasm_cache_bytes', 'Bytes of artifacts in the cache.', () => sources.cache().bytes);
  one('gauge', 'wasm_engine_workers', 'Workers of all pools.', () => sources.engine().workers);
  one('gauge', 'wasm_engine_workers_busy', 'Workers that run an invocation.', () => sources.engine().busy);
  one('counter', 'wasm_engine_restarts_total', 'Engine process restarts.', () => sources.engine().restarts);
  one('counter', 'wasm_workers_killed_total', 'Workers ended at a deadline.', () => sources.engine().killed);
  one('counter', 'wasm_workers_crashed_total', 'Workers that crashed.', () => sources.engine().crashed);
  const compile = (): EngineStats['compile'] => sources.engine().compile;
  one('counter', 'wasm_compiles_total', 'Artifacts compiled to machine code.', () => compile().compiled);
  one(
    'counter',
    'wasm_compile_failures_total',
    'Artifacts that the compiler gave up.',
    () => compile().failed,
  );
  one(
    'counter',
    'wasm_compile_seconds_total',
    'Time in the compiler.',
    () => compile().compile_ms_total / 1_000,
  );
  one('gauge', 'wasm_compile_queue', 'Artifacts that wait for the compiler.', () => compile().queued);
  one('counter', 'wasm_code_cache_hits_total', 'Compiled files found.', () => compile().cache_hits);
  one('counter', 'wasm_code_cache_misses_total', 'Compiled files not found.', () => compile().cache_misses);
  for (const part of ['workers', 'idle', 'busy', 'starting', 'queued'] as const) {
    metrics.collected({
      kind: 'gauge',
      name: `wasm_pool_${part}`,
      help: part === 'queued' ? 'Invocations that wait for a worker.' : `Workers of a function: ${part}.`,
      labels: ['function_id'],
      *read() {
        for (const { functionId, stats } of sources.pools()) {
          yield { labels: { function_id: functionId }, value: stats[part] };
        }
      },
    });
  }
}

/** Errors of one function; the series of a code is opened when it first happens. */
function createErrorCounter(open: (code: ErrorCode) => CounterSeries): (code: ErrorCode) => void {
  const held = new Map<ErrorCode, CounterSeries>();
  return (code) => {
    const series = held.get(code) ?? open(code);
    held.set(code, series);
    series.inc();
  };
}

function createVersionFigures(
  count: CounterSeries,
  seconds: HistogramSeries,
  countError: (code: ErrorCode) => void,
): VersionFigures {
  const latency = createLatency();
  return {
    latency,
    errorCount: 0,
    invoked(elapsedMs) {
      observeLatency(latency, elapsedMs);
      count.inc();
      seconds.observe(elapsedMs / 1_000);
    },
    failed(code) {
      this.errorCount += 1;
      countError(code);
    },
  };
}

export function createEdgeFigures(options: { metrics: Metrics; sources: FigureSources }): EdgeFigures {
  const { metrics, sources } = options;
  collectSources(metrics, sources);
  const counter = (name: string, help: string, ...labels: string[]): ReturnType<Metrics['counter']> =>
    metrics.counter({ name, help, labels, ...(labels.includes('code') ? { seriesMax: CODES_MAX } : {}) });
  const invocations = counter('wasm_invoke_count_total', 'Invocations that reached a pool.', 'function_id');
  const errors = metrics.counter({
    name: 'wasm_invoke_errors_total',
    help: 'Invocations that ended in an error, by code.',
    labels: ['function_id', 'code'],
  });
  const seconds = metrics.histogram({
    name: 'wasm_invoke_latency_seconds',
    help: 'From admission to the answer of the pool.',
    labels: ['function_id'],
    buckets: LATENCY_BUCKETS,
  });
  const refused = counter('edge_requests_refused_total', 'Requests that reached no function.', 'code');
  const quota = counter('edge_quota_refused_total', 'Requests refused by a quota.', 'code');
  const hits = counter('wasm_cache_hits_total', 'Artifacts found in the cache and verified.').series();
  const misses = counter('wasm_cache_misses_total', 'Artifacts that the cache did not have.').series();
  const quarantined = counter(
    'wasm_cache_quarantined_total',
    'Artifacts on disk with a wrong digest.',
  ).series();
  const heartbeats = counter('edge_heartbeats_total', 'Heartbeats by result.', 'result');
  const pulls = counter('wasm_pulls_total', 'Artifact downloads by result.', 'result');
  const pullBytes = counter('wasm_pull_bytes_total', 'Bytes of downloaded artifacts.').series();
  const compile = metrics.histogram({
    name: 'wasm_prepare_seconds',
    help: 'Check and compile of an artifact, by outcome.',
    labels: ['result'],
    buckets: COMPILE_BUCKETS,
  });
  return {
    openVersion: (functionId) =>
      createVersionFigures(
        invocations.series(functionId),
        seconds.series(functionId),
        createErrorCounter((code) => errors.series(functionId, code)),
      ),
    refused: (code) => refused.series(code).inc(),
    quotaRefused: (code) => quota.series(code).inc(),
    cacheRead(result) {
      if (result === 'hit') return hits.inc();
      if (result === 'quarantined') quarantined.inc();
      misses.inc();
    },
    heartbeat: (result) => heartbeats.series(result).inc(),
    pulled(result, bytes) {
      pulls.series(result).inc();
      if (bytes > 0) pullBytes.inc(bytes);
    },
    prepared: (result, took) => compile.series(result).observe(took),
    forgetFunction: (functionId) => metrics.forget('function_id', functionId),
  };
}
