// Starts the engine and the edge of a node from its settings; what is opened is closed in reverse order.
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { commandOfProgram } from '../child.ts';
import { openAssets, versionOfProgram } from '../embedded/assets.ts';
import { createModuleCheck } from '../roles/module_check.ts';
import { randomFraction } from '../../base/id.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { Log } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { Environment } from '../../config/inputs.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { createEdge, type Edge, edgeLimits } from '../../edge/edge.ts';
import { createEngine } from '../../engine/create.ts';
import type { Engine } from '../../engine/engine.ts';
import { openRuntime, type RuntimeManifest, runtimeBases, markRuntimeInUse } from '../embedded/runtime.ts';
import type { Context } from './context.ts';
import { binding } from './lifetime.ts';

const GIB = 1024 ** 3;

/** Settings that `up` and `--mode=edge` share. */
export type NodeSettings = Omit<SettingsOf<'edge'>, 'cpUrl' | 'joinToken' | 'nodeId' | 'cacheDir'>;

type EngineSettings = Pick<
  NodeSettings,
  | 'maxHotInstances'
  | 'poolWorkersMin'
  | 'queueLengthMax'
  | 'workerIdleMs'
  | 'nodeWorkersMax'
  | 'requestBytesMax'
  | 'responseBytesMax'
>;

export async function openEngine(options: {
  settings: EngineSettings;
  dataDir: string;
  cacheDir: string;
  context: Context;
  log: Log;
  closing: AsyncDisposableStack;
}): Promise<Engine> {
  const { settings, dataDir, cacheDir, context, log, closing } = options;
  const { clock, random, env, terminal } = context;
  const self = commandOfProgram();
  const manifest = (await openAssets().manifest.json()) as RuntimeManifest;
  const { dir } = await openRuntime({
    manifest,
    bases: runtimeBases(env, dataDir),
    self,
    env,
    clock,
    terminal,
  });
  const use = markRuntimeInUse(dir, clock);
  closing.defer(() => use.close());
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  mkdirSync(cacheDir, { recursive: true, mode: 0o700 });
  const engine = await createEngine({
    libraryDir: dir,
    command: self,
    cacheDir,
    dataDir,
    clock,
    log,
    random: () => randomFraction(random),
    randomBytes: random,
    check: createModuleCheck({ self }),
    limits: {
      workers: settings.nodeWorkersMax,
      poolWorkersMin: Math.min(settings.poolWorkersMin, settings.maxHotInstances),
      poolWorkersMax: settings.maxHotInstances,
      queueLengthMax: settings.queueLengthMax,
      workerIdleMs: settings.workerIdleMs,
      requestBytesMax: settings.requestBytesMax,
      responseBytesMax: settings.responseBytesMax,
    },
  });
  closing.defer(() => engine.close());
  return engine;
}

/**
 * `controlFetch` carries what the node says to its control plane: `fetch`, or the handler in the same
 * process.
 */
export async function openEdge(options: {
  settings: NodeSettings;
  node: { nodeId: string; dataDir: string; cacheDir: string; cpUrl: string; joinToken: string | null };
  engine: Engine;
  controlFetch: (request: Request) => Promise<Response>;
  context: Context;
  log: Log;
  metrics: Metrics;
  closing: AsyncDisposableStack;
}): Promise<Edge> {
  const { settings, node, engine, controlFetch, context, log, metrics, closing } = options;
  const { listen, metricsListen } = settings;
  const places = [
    { flag: '--listen', address: listen },
    { flag: '--metrics-listen', address: metricsListen },
  ];
  const edge = await binding(places, () =>
    createEdge({
      config: {
        ...edgeLimits,
        ...node,
        popId: settings.popId,
        labels: settings.labels,
        edgeVersion: versionOfProgram(),
        cacheBytesMax: Math.floor(settings.cacheSizeGb * GIB),
        listen,
        metricsListen,
        accessLog: settings.accessLog,
        requestBytesMax: settings.requestBytesMax,
        concurrentPerProject: settings.concurrentPerProject,
        invocationsPerMinute: settings.invocationsPerMinute,
        heartbeatIntervalMs: settings.heartbeatIntervalSecs * 1_000,
        drainMs: settings.drainSecs * 1_000,
      },
      engine,
      clock: context.clock,
      log,
      random: context.random,
      controlFetch,
      publicFetch: (request) => fetch(request),
      metrics,
    }),
  );
  closing.defer(() => edge.close());
  return edge;
}

/** Whether the node in this directory has joined a control plane. */
export function hasJoined(dataDir: string): boolean {
  return existsSync(join(dataDir, 'node.json'));
}

/** The host's name as far as it fits an id. */
export function nodeIdOfHost(): string {
  const name = hostname()
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, FUNCTION_BOUNDS.nameLengthMax);
  return name === '' ? 'edge' : name;
}

/** `/var/cache/wasm`, or the user's cache directory when that is not writable, or the data directory. */
export function cacheDirOf(env: Environment, dataDir: string): string {
  const { XDG_CACHE_HOME: cache = '', HOME: home = '' } = env;
  const system = '/var/cache/wasm';
  if (isWritable(system)) return system;
  if (isAbsolute(cache)) return join(cache, 'edge', 'wasm');
  return isAbsolute(home) ? join(home, '.cache', 'edge', 'wasm') : resolve(dataDir, 'cache');
}

function isWritable(dir: string): boolean {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    accessSync(dir, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
