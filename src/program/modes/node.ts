// Wires the engine and the edge of a node from its settings.
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { randomFraction } from '../../base/id.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { Log } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import { cacheHomes } from '../../config/directories.ts';
import type { Environment } from '../../config/inputs.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { createEdge, type Edge, edgeLimits } from '../../edge/edge.ts';
import { createEngine } from '../../engine/create.ts';
import type { Engine } from '../../engine/engine.ts';
import { commandOfProgram } from '../child.ts';
import { openAssets, versionOfProgram } from '../embedded/assets.ts';
import { markRuntimeInUse, openRuntime, type RuntimeManifest, runtimeBases } from '../embedded/runtime.ts';
import { createModuleCheck } from '../roles/module_check.ts';
import type { Context } from './context.ts';
import { explainBindFailures, makeDirectory } from './lifetime.ts';

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

/** What a mode decides about its node besides the settings. */
export type NodeIdentity = {
  nodeId: string;
  dataDir: string;
  cacheDir: string;
  cpUrl: string;
  /** Null for a node that has joined. */
  joinToken: string | null;
};

/** Unpacks the engine's libraries where needed and starts the engine, which `closing` closes. */
export async function wireEngine(options: {
  settings: EngineSettings;
  dataDir: string;
  cacheDir: string;
  context: Context;
  log: Log;
  closing: AsyncDisposableStack;
}): Promise<Engine> {
  const { settings, dataDir, cacheDir, context, log, closing } = options;
  const { clock, random, env, terminal } = context;
  makeDirectory(dataDir, '--data-dir');
  makeDirectory(cacheDir, '--cache-dir');
  const self = commandOfProgram();
  const manifest = (await openAssets().manifest.json()) as RuntimeManifest;
  const bases = runtimeBases(env, dataDir);
  const runtime = await openRuntime({ manifest, bases, self, env, clock, terminal });
  const mark = markRuntimeInUse(runtime.dir, clock);
  closing.defer(() => mark.close());
  const engine = await createEngine({
    libraryDir: runtime.dir,
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
 * Starts the edge, which `closing` closes. `controlFetch` carries its requests to the control plane: `fetch`,
 * or the handler of a control plane in this process.
 */
export async function wireEdge(options: {
  settings: NodeSettings;
  node: NodeIdentity;
  engine: Engine;
  controlFetch: (request: Request) => Promise<Response>;
  context: Context;
  log: Log;
  metrics: Metrics;
  closing: AsyncDisposableStack;
}): Promise<Edge> {
  const { settings, node, engine, controlFetch, context, log, metrics, closing } = options;
  const { listen, metricsListen } = settings;
  const addresses = [
    { flag: '--listen', address: listen },
    { flag: '--metrics-listen', address: metricsListen },
  ];
  const edge = await explainBindFailures(addresses, () =>
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
        poolWorkersMin: Math.min(settings.poolWorkersMin, settings.maxHotInstances),
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

/** Whether the node of this data directory has joined a control plane. */
export function hasJoined(dataDir: string): boolean {
  return existsSync(join(dataDir, 'node.json'));
}

/** The host's name, with the characters and the length that an id may have. */
export function nodeIdOfHost(): string {
  const name = hostname()
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, FUNCTION_BOUNDS.nameLengthMax);
  return name === '' ? 'edge' : name;
}

/** `/var/cache/wasm`; the user's cache directory when that is not writable; else a folder of `dataDir`. */
export function systemCacheDir(env: Environment, dataDir: string): string {
  const system = '/var/cache/wasm';
  if (isWritable(system)) return system;
  const [cacheHome] = cacheHomes(env);
  return cacheHome === undefined ? resolve(dataDir, 'cache') : join(cacheHome, 'edge', 'wasm');
}

/** Makes the directory when it is missing. */
function isWritable(dir: string): boolean {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    accessSync(dir, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
