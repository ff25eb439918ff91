// One edge node, wired: cache, agent, reconciler, ingress and its two listeners; opened and closed as a
// whole.
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { RandomBytes } from '../base/id.ts';
import { EDGE_DEFAULTS } from '../base/limits/edge.ts';
import { REQUEST_BOUNDS, REQUEST_DEFAULTS } from '../base/limits/request.ts';
import { SYNC_BOUNDS, SYNC_DEFAULTS, SYNC_TUNING } from '../base/limits/sync.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { SendRequest } from '../base/send.ts';
import type { Engine } from '../engine/engine.ts';
import type { Labels } from '../model/names.ts';
import { openAgent, type Agent, type Heartbeats, type NodeReport } from './sync/sync.ts';
import type { ListenAddress } from '../model/listen_address.ts';
import { openCache, type ArtifactCache } from './reconcile/cache.ts';
import { CacheInUse } from './reconcile/cache_index.ts';
import { createEdgeFigures, type EdgeFigures } from './figures/figures.ts';
import { openFunctionServer, type FunctionServer, type ServeConfig } from './serve/serve.ts';
import { openMetricsListener, type MetricsListener } from './figures/metrics_listener.ts';
import { createPuller, type Puller } from './reconcile/pull.ts';
import { createReconciler, type Reconciler } from './reconcile/reconcile.ts';
import { createRouting, type Routing } from './serve/routing.ts';
import { createSteps } from './reconcile/steps.ts';

export type EdgeConfig = ServeConfig & {
  nodeId: string;
  popId: string;
  labels: Labels;
  edgeVersion: string;
  /** Holds the node's credentials and its last desired state. */
  dataDir: string;
  cacheDir: string;
  cacheBytesMax: number;
  cacheEntriesMax: number;
  metricsListen: ListenAddress;
  cpUrl: string;
  /** Needed at the first start only. */
  joinToken: string | null;
  concurrentPerProject: number;
  invocationsPerMinute: number;
  /**
   * The longest time between two heartbeats; one is held for `SYNC_BOUNDS.heartbeatHoldMs` at most.
   */
  heartbeatIntervalMs: number;
  /** How long running requests may go on after `close`. */
  drainMs: number;
};

export type EdgeOptions = {
  config: EdgeConfig;
  /** Stays the caller's, who closes it after the edge. */
  engine: Engine;
  clock: Clock;
  log: Log;
  random: RandomBytes;
  /** Across machines `fetch`; in one process the handler of the control plane. */
  controlFetch: SendRequest;
  /** For artifacts at absolute addresses. */
  publicFetch: SendRequest;
  metrics: Metrics;
};

export type Edge = {
  /** Ports that are listened on, also where 0 was asked for. */
  readonly port: number;
  readonly metricsPort: number;
  isReady(): boolean;
  /**
   * Takes no new requests, answers the running ones, drains the pools and says `offline`; bounded by
   * `drainMs`.
   */
  close(): Promise<void>;
};

/** The defaults of everything in `EdgeConfig` that is a limit. */
export const edgeLimits = {
  targetBytesMax: REQUEST_BOUNDS.targetBytesMax,
  headersBytesMax: REQUEST_BOUNDS.headersBytesMax,
  headersCountMax: REQUEST_BOUNDS.headersCountMax,
  requestBytesMax: REQUEST_DEFAULTS.requestBytesMax,
  requestBodyMs: REQUEST_BOUNDS.bodyMs,
  requestBodiesBytesMax: REQUEST_BOUNDS.bodiesBytesMax,
  cacheBytesMax: EDGE_DEFAULTS.cacheBytesMax,
  cacheEntriesMax: EDGE_DEFAULTS.cacheEntriesMax,
  concurrentPerProject: REQUEST_DEFAULTS.concurrentPerProject,
  invocationsPerMinute: REQUEST_DEFAULTS.invocationsPerMinute,
  heartbeatIntervalMs: SYNC_DEFAULTS.heartbeatIntervalMs,
  drainMs: REQUEST_DEFAULTS.drainMs,
} as const;

/**
 * Rejects when a port is taken, a folder cannot be written, or the node has neither joined nor a join
 * token.
 */
export async function createEdge(options: EdgeOptions): Promise<Edge> {
  const node = new Node(options);
  try {
    await node.open();
    return node;
  } catch (failure) {
    await node.close();
    throw failure;
  }
}

class Node implements Edge {
  readonly #options: EdgeOptions;
  readonly #log: Log;
  readonly #routing: Routing;
  readonly #figures: EdgeFigures;
  #cache: ArtifactCache | null = null;
  #puller: Puller | null = null;
  #reconciler: Reconciler | null = null;
  #agent: Agent | null = null;
  #heartbeats: Heartbeats | null = null;
  #server: FunctionServer | null = null;
  #metrics: MetricsListener | null = null;
  #isEngineReady = false;
  #isClosing = false;

  constructor(options: EdgeOptions) {
    const { config, clock, engine } = options;
    this.#options = options;
    this.#log = options.log.with({ node_id: config.nodeId });
    this.#routing = createRouting();
    this.#figures = createEdgeFigures({ metrics: options.metrics, clock });
    this.#figures.collectFrom({
      engine: () => engine.stats(),
      pools: () => this.#reconciler?.pools() ?? [],
      cache: () => this.#cache?.totals() ?? { entries: 0, bytes: 0 },
      revision: () => this.#agent?.accepted()?.revision ?? 0,
    });
  }

  get port(): number {
    return this.#server?.port ?? 0;
  }

  get metricsPort(): number {
    return this.#metrics?.port ?? 0;
  }

  isReady(): boolean {
    return !this.#isClosing && this.#isEngineReady && this.#reconciler?.isSettled() === true;
  }

  async open(): Promise<void> {
    const { config, clock, random, engine, metrics, controlFetch, publicFetch } = this.#options;
    const log = this.#log;
    const { dataDir, cpUrl, joinToken } = config;
    const holdMs = Math.min(config.heartbeatIntervalMs, SYNC_BOUNDS.heartbeatHoldMs);
    const onHeartbeat = this.#figures.heartbeat;
    const agent = await openAgent({
      identity: config,
      dataDir,
      cpUrl,
      joinToken,
      holdMs,
      controlFetch,
      clock,
      random,
      log,
      onHeartbeat,
    });
    this.#agent = agent;
    const accepted = agent.accepted();
    this.#cache = this.#openCache();
    this.#puller = createPuller({
      controlFetch,
      publicFetch,
      cpUrl: config.cpUrl,
      nodeToken: () => agent.nodeToken(),
      clock,
      onPulled: this.#figures.pulled,
    });
    const steps = createSteps({
      engine,
      cache: this.#cache,
      puller: this.#puller,
      figures: this.#figures,
      log,
    });
    const reconciler = createReconciler({
      steps,
      cache: this.#cache,
      routing: this.#routing,
      figures: this.#figures,
      clock,
      random,
      log,
      quota: { concurrentMax: config.concurrentPerProject, perMinuteMax: config.invocationsPerMinute },
      engineReady: this.#awaitEngine(),
      onChange: () => agent.notify(),
    });
    this.#reconciler = reconciler;
    if (accepted !== null) reconciler.apply(accepted.desired);
    const { metricsListen } = config;
    const [routing, figures] = [this.#routing, this.#figures];
    this.#server = openFunctionServer({ config, routing, figures, clock, random, log });
    this.#metrics = openMetricsListener({ listen: metricsListen, metrics, isReady: () => this.isReady() });
    this.#heartbeats = agent.start({
      report: () => this.#report(reconciler),
      onAccepted: ({ desired }) => reconciler.apply(desired),
    });
  }

  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    const { config, clock } = this.#options;
    this.#server?.refuseNew();
    const endMs = clock.monotonicMs() + config.drainMs;
    const finished = new AbortController();
    const late = clock.sleep(config.drainMs, finished.signal);
    if (this.#server !== null) await Promise.race([this.#server.drain(), late]);
    await this.#heartbeats?.close({ graceMs: Math.min(config.drainMs, SYNC_TUNING.reconnectMsMin) });
    this.#puller?.close();
    await this.#reconciler?.close({ graceMs: Math.max(0, endMs - clock.monotonicMs()) });
    await this.#server?.close();
    await this.#metrics?.close();
    this.#cache?.close();
    finished.abort();
    this.#log.info('closed');
  }

  /** A second node on this machine keeps its artifacts in its data directory. */
  #openCache(): ArtifactCache {
    const { config, clock, random } = this.#options;
    const { cacheDir, cacheBytesMax: bytesMax, cacheEntriesMax: entriesMax } = config;
    const log = this.#log;
    const own = { bytesMax, entriesMax, clock, random, log, onRead: this.#figures.cacheRead };
    try {
      return openCache({ ...own, dir: cacheDir });
    } catch (failure) {
      if (!(failure instanceof CacheInUse)) throw failure;
      log.warn('the cache directory is in use; this node keeps its artifacts in its data directory');
      return openCache({ ...own, dir: join(config.dataDir, 'artifacts') });
    }
  }

  /** An engine that never comes up leaves the node not ready, and its functions loading. */
  async #awaitEngine(): Promise<void> {
    try {
      await this.#options.engine.ready();
      this.#isEngineReady = true;
      this.#agent?.notify();
    } catch {
      // It was closed first, which is no failure; why a start fails is in the engine's own log lines.
      await new Promise(() => {});
    }
  }

  #report(reconciler: Reconciler): NodeReport {
    const { cpuPercent, memBytes } = this.#figures.machine();
    return {
      status: this.#isEngineReady ? 'online' : 'degraded',
      cpu_percent: cpuPercent,
      mem_bytes: memBytes,
      functions: reconciler.observed(),
    };
  }
}
