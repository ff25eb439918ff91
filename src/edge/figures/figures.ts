// The metrics of an edge: counters that the other rooms raise, by version where a heartbeat reports them.
import type { Clock } from '../../base/clock.ts';
import type { ErrorCode } from '../../base/errors.ts';
import type { CounterSeries, Family, HistogramSeries, Metrics } from '../../base/metrics.ts';
import { collectMachine, collectSources, type FigureSources } from './collected.ts';
import { createLatency, meanMs, observeLatency, percentileMs } from './latency.ts';
import { createMachine, type MachineReading } from './machine.ts';

const LATENCY_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const PREPARE_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** What one version has done since `openVersion`; `p99Ms` is an upper estimate. */
export type VersionTotals = { invocations: number; errors: number; meanMs: number; p99Ms: number };

/** Counts what one version does. */
export type VersionFigures = {
  /** An invocation reached the pool and ended. */
  invoked(elapsedMs: number): void;
  /** An invocation or its answer failed with this code. */
  failed(code: ErrorCode): void;
  totals(): VersionTotals;
};

export type EdgeFigures = {
  /** Totals start at zero; the metrics of the function continue over its versions. */
  openVersion(functionId: string): VersionFigures;
  /** A request that reached no function. */
  refused(code: ErrorCode): void;
  quotaRefused(code: ErrorCode): void;
  cacheRead(result: 'hit' | 'miss' | 'quarantined'): void;
  heartbeat(result: 'ok' | 'refused' | 'unreachable' | 'unauthenticated'): void;
  pulled(result: 'ok' | 'failed', bytes: number): void;
  prepared(result: 'aot' | 'interpreter' | 'refused', seconds: number): void;
  /** Drops every series of a function that has left this node. */
  forgetFunction(functionId: string): void;
  machine(): MachineReading;
  /** Adds the metrics that `sources` keep; called once, when the parts of the node exist. */
  collectFrom(sources: FigureSources): void;
};

/** Errors of one function; opens the series that count a code when it first happens. */
function createErrorCounter(open: (code: ErrorCode) => CounterSeries[]): (code: ErrorCode) => void {
  const opened = new Map<ErrorCode, CounterSeries[]>();
  return (code) => {
    const all = opened.get(code) ?? open(code);
    opened.set(code, all);
    for (const series of all) series.inc();
  };
}

function createVersionFigures(
  count: CounterSeries,
  seconds: HistogramSeries,
  countError: (code: ErrorCode) => void,
): VersionFigures {
  const latency = createLatency();
  let errors = 0;
  return {
    invoked(elapsedMs) {
      observeLatency(latency, elapsedMs);
      count.inc();
      seconds.observe(elapsedMs / 1_000);
    },
    failed(code) {
      errors += 1;
      countError(code);
    },
    totals: () => ({
      invocations: latency.count,
      errors,
      meanMs: meanMs(latency),
      p99Ms: percentileMs(latency, 0.99),
    }),
  };
}

export function createEdgeFigures(options: { metrics: Metrics; clock: Clock }): EdgeFigures {
  const { metrics, clock } = options;
  const machine = createMachine({ clock });
  collectMachine(metrics, machine);
  const counter = (name: string, help: string, ...labels: string[]): Family<CounterSeries> =>
    metrics.counter({ name, help, labels });
  const invocations = counter('wasm_invoke_count_total', 'Invocations that reached a pool.', 'function_id');
  const failed = 'Invocations that ended in an error, by code.';
  const errors = counter('wasm_invoke_errors_total', failed, 'function_id', 'code');
  const denied = 'Invocations that called a WASI function that is not offered.';
  const wasiDenied = counter('wasi_denied_total', denied, 'function_id');
  const errorSeries = (functionId: string, code: ErrorCode): CounterSeries[] => {
    const counted = errors.series(functionId, code);
    return code === 'wasi_denied' ? [counted, wasiDenied.series(functionId)] : [counted];
  };
  const seconds = metrics.histogram({
    name: 'wasm_invoke_latency_seconds',
    help: 'Time from admission to the answer of the pool.',
    labels: ['function_id'],
    buckets: LATENCY_BUCKETS,
  });
  const refused = counter('edge_requests_refused_total', 'Requests that reached no function.', 'code');
  const quota = counter('edge_quota_refused_total', 'Requests refused by a quota.', 'code');
  const hits = counter('wasm_cache_hits_total', 'Artifacts found in the cache and verified.').series();
  const misses = counter('wasm_cache_misses_total', 'Artifacts that the cache did not have.').series();
  const quarantined = counter(
    'wasm_cache_quarantined_total',
    'Cached artifacts with a wrong digest.',
  ).series();
  const heartbeats = counter('edge_heartbeats_total', 'Heartbeats by result.', 'result');
  const pulls = counter('wasm_pulls_total', 'Artifact downloads by result.', 'result');
  const pullBytes = counter('wasm_pull_bytes_total', 'Bytes of downloaded artifacts.').series();
  const prepares = metrics.histogram({
    name: 'wasm_prepare_seconds',
    help: 'Time to check and compile an artifact, by outcome.',
    labels: ['result'],
    buckets: PREPARE_BUCKETS,
  });
  return {
    openVersion: (functionId) =>
      createVersionFigures(
        invocations.series(functionId),
        seconds.series(functionId),
        createErrorCounter((code) => errorSeries(functionId, code)),
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
    prepared: (result, took) => prepares.series(result).observe(took),
    forgetFunction: (functionId) => metrics.forget('function_id', functionId),
    machine,
    collectFrom: (sources) => collectSources(metrics, sources),
  };
}
