// One edge node: opens its parts in order, and drains and closes them in reverse.
import type { Clock } from '../base/clock.ts';
import { within } from '../base/deadline.ts';
import { type Failpoints, NO_FAILPOINTS } from '../base/failpoints/failpoints.ts';
import type { RandomBytes } from '../base/id.ts';
import { EDGE_DEFAULTS } from '../base/limits/edge.ts';
import { POOL_DEFAULTS } from '../base/limits/pool.ts';
import { REQUEST_BOUNDS, REQUEST_DEFAULTS } from '../base/limits/request.ts';
import { SYNC_DEFAULTS, SYNC_TUNING } from '../base/limits/sync.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { SendRequest } from './send.ts';
import type { Engine } from '../engine/engine.ts';
import type { ListenAddress } from '../model/listen_address.ts';
import type { WallReport } from '../model/wall.ts';
import { createEdgeFigures, type EdgeFigures } from './figures/figures.ts';
import { openMetricsListener, type Waiting } from './figures/metrics_listener.ts';
import { openReconciler, type ReconcileConfig } from './reconcile/reconcile.ts';
import { type FunctionServer, openFunctionServer, type ServeConfig } from './serve/serve.ts';
import { type Heartbeats, type NodeReport, openAgent, type SyncConfig } from './sync/sync.ts';

export type EdgeConfig = SyncConfig &
  ReconcileConfig &
  ServeConfig & {
    metricsListen: ListenAddress;
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
  /** Carries requests to the control plane: `fetch`, or in one process the control plane's handler. */
  controlFetch: SendRequest;
  /** Carries requests for artifacts at absolute addresses. */
  publicFetch: SendRequest;
  metrics: Metrics;
  /** Only a test hands some in. */
  failpoints?: Failpoints;
};

export type Edge = {
  /** Ports that are listened on, also where 0 was asked for. */
  readonly port: number;
  readonly metricsPort: number;
  /** The engine takes work, and every function of the first desired state has come up or failed once. */
  isReady(): boolean;
  /** Resolves to the reason if the control plane refuses for good to let this node join. */
  readonly joinRefused: Promise<string>;
  /**
   * Refuses new requests, gives the running ones `drainMs`, reports `offline`, gives the pools what is left
   * of `drainMs`, then closes everything. A second call resolves at once.
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
  poolWorkersMin: POOL_DEFAULTS.workersMin,
  heartbeatIntervalMs: SYNC_DEFAULTS.heartbeatIntervalMs,
  drainMs: REQUEST_DEFAULTS.drainMs,
} as const;

/**
 * Rejects when a port is taken, a directory cannot be written, or the node has neither joined nor a join
 * token.
 */
export async function createEdge(options: EdgeOptions): Promise<Edge> {
  const { config, engine, clock, random, metrics, controlFetch, publicFetch } = options;
  const log = options.log.with({ node_id: config.nodeId });
  await using opened = new AsyncDisposableStack();
  opened.defer(() => log.info('closed'));
  const figures = createEdgeFigures({ metrics, clock });
  const onHeartbeat = figures.heartbeat;
  const { promise: joinRefused, resolve: onJoinRefused } = Promise.withResolvers<string>();
  const { failpoints = NO_FAILPOINTS } = options;
  const heard = { onHeartbeat, onJoinRefused };
  const agent = await openAgent({ config, controlFetch, clock, random, log, failpoints, ...heard });
  const reconciler = openReconciler({
    config,
    engine,
    controlFetch,
    publicFetch,
    nodeToken: () => agent.nodeToken(),
    figures,
    clock,
    random,
    log,
    onChange: () => agent.notify(),
  });
  opened.defer(() => reconciler.close());
  figures.collectFrom({
    engine: () => engine.stats(),
    wall: () => engine.wall() ?? [],
    pools: () => reconciler.pools(),
    cache: () => reconciler.cacheTotals(),
    revision: () => agent.accepted()?.revision ?? 0,
    isDiverged: () => agent.isDiverged(),
  });
  let isClosing = false;
  const waitingFor = (): Waiting[] => (isClosing ? ['shutdown'] : waitingOf(engine, reconciler));
  const wall = (): WallReport | null => engine.wall();
  const metricsListener = openMetricsListener({ listen: config.metricsListen, metrics, waitingFor, wall });
  opened.defer(() => metricsListener.close());
  const { routing } = reconciler;
  const { stopListening } = engine;
  const server = openFunctionServer({ config, routing, figures, clock, random, log, stopListening });
  opened.defer(() => server.close());
  // Nothing is awaited from here on, so the first request finds the routes of the last desired state.
  const accepted = agent.accepted();
  if (accepted !== null) reconciler.apply(accepted.desired);
  const heartbeats = agent.start({
    report: () => ({ ...machineReport(figures, engine), functions: reconciler.observed() }),
    onAccepted: ({ desired }) => reconciler.apply(desired),
  });
  opened.defer(() => {
    isClosing = true;
    return drainParts({ server, heartbeats, reconciler, clock, drainMs: config.drainMs });
  });
  follow(engine, { start: () => reconciler.start(), notify: () => agent.notify() });
  const closing = opened.move();
  const { port } = server;
  return {
    port,
    metricsPort: metricsListener.port,
    isReady: () => waitingFor().length === 0,
    joinRefused,
    close: () => closing.disposeAsync(),
  };
}

/** Requests and pools share `drainMs`; the last heartbeat, in between, may take `reconnectMsMin` of its own. */
async function drainParts(parts: {
  server: FunctionServer;
  heartbeats: Heartbeats;
  reconciler: { drain(options: { graceMs: number }): Promise<void> };
  clock: Clock;
  drainMs: number;
}): Promise<void> {
  const { server, heartbeats, reconciler, clock, drainMs } = parts;
  const endMs = clock.monotonicMs() + drainMs;
  await within(clock, drainMs, server.drain());
  server.refuseNew();
  await heartbeats.close({ graceMs: Math.min(drainMs, SYNC_TUNING.reconnectMsMin) });
  await reconciler.drain({ graceMs: Math.max(0, endMs - clock.monotonicMs()) });
}

/**
 * Starts what needs the engine once it is ready. Notifies then, and before as soon as the wall was tried: a
 * refused engine is never ready.
 */
function follow(engine: Engine, on: { start: () => void; notify: () => void }): void {
  // The engine was closed before, or can never serve: its log says why.
  const ignore = (): void => undefined;
  engine.wallRefusal().then(on.notify, ignore);
  engine.ready().then(() => {
    on.start();
    on.notify();
  }, ignore);
}

function machineReport(figures: EdgeFigures, engine: Engine): Omit<NodeReport, 'functions'> {
  const { cpuPercent: cpu_percent, memBytes: mem_bytes } = figures.machine();
  const status = engine.isServing() ? 'online' : 'degraded';
  const wall = engine.wall();
  return { status, cpu_percent, mem_bytes, ...(wall === null ? {} : { wall }) };
}

function waitingOf(engine: Engine, reconciler: { isSettled(): boolean }): Waiting[] {
  const waiting: Waiting[] = engine.isServing() ? [] : ['engine'];
  return reconciler.isSettled() ? waiting : [...waiting, 'desired_state'];
}
