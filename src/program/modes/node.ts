// Wires the engine and the edge of a node from its settings.
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { randomFraction } from '../../base/id.ts';
import { OPEN_FILES } from '../../base/limits/files.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { Log } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import { CliFailure } from '../../cli/failure.ts';
import { cacheHomes } from '../../config/directories.ts';
import type { Environment } from '../../config/inputs.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { createEdge, type Edge, edgeLimits } from '../../edge/edge.ts';
import { createEngine } from '../../engine/create.ts';
import type { Engine } from '../../engine/engine.ts';
import type { EngineUnusable } from '../../engine/ring/process_exit.ts';
import { commandOfProgram } from '../child.ts';
import { openAssets, versionOfProgram } from '../embedded/assets.ts';
import { markRuntimeInUse, openRuntime, type RuntimeManifest, runtimeBases } from '../embedded/runtime.ts';
import { createModuleCheck } from '../roles/module_check.ts';
import type { Context } from './context.ts';
import { claimDataDir, explainBindFailures, makeDirectory, openFailpoints } from './lifetime.ts';

const GIB = 1024 ** 3;

/** Settings that `up` and `--mode=edge` share. */
export type NodeSettings = Omit<SettingsOf<'edge'>, 'cpUrl' | 'joinToken' | 'nodeId' | 'cacheDir'>;

/** What a node and the clients of its functions open at one time. */
export function openFilesOfNode({
  nodeWorkersMax,
}: Pick<NodeSettings, 'nodeWorkersMax'>): { what: string; files: number }[] {
  return [
    { what: 'clients of functions', files: OPEN_FILES.clients },
    { what: `${nodeWorkersMax} workers`, files: nodeWorkersMax * OPEN_FILES.perWorker },
  ];
}

type EngineSettings = Pick<
  NodeSettings,
  | 'maxHotInstances'
  | 'poolWorkersMin'
  | 'queueLengthMax'
  | 'workerIdleMs'
  | 'nodeWorkersMax'
  | 'allowWeakWalls'
  | 'requestBytesMax'
  | 'responseBytesMax'
>;

/** What a mode decides about its node besides the settings. */
export type NodeIdentity = {
  nodeId: string;
  dataDir: string;
  cacheDir: string;
  cpUrl: string;
  /** Null where there is none: then the node must have joined. */
  joinToken: (() => Promise<string>) | null;
};

/** Unpacks the engine's libraries where needed: into the user's cache directory, or below `dataDir`. */
export async function openLibraries(dataDir: string, context: Context): Promise<{ dir: string }> {
  const { clock, env, terminal } = context;
  const manifest = (await openAssets().manifest.json()) as RuntimeManifest;
  const bases = runtimeBases(env, dataDir);
  return openRuntime({ manifest, bases, self: commandOfProgram(), env, clock, terminal });
}

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
  const { clock, random } = context;
  if (hasJoined(dataDir)) warnUnwritable([dataDir, cacheDir], log);
  else
    for (const [dir, flag] of [
      [dataDir, '--data-dir'],
      [cacheDir, '--cache-dir'],
    ] as const)
      makeDirectory(dir, flag);
  const self = commandOfProgram();
  const runtime = await openLibraries(dataDir, context);
  const mark = markRuntimeInUse(runtime.dir, clock);
  closing.defer(() => mark.close());
  const engine = await createEngine({
    libraryDir: runtime.dir,
    command: self,
    cacheDir,
    dataDir,
    allowsWeakWalls: settings.allowWeakWalls,
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
        host: plainHostName(HOST_LENGTH_MAX),
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
      failpoints: openFailpoints(context, log),
    }),
  );
  closing.defer(() => edge.close());
  return edge;
}

/** Resolves with the signal that stops the server; throws a CliFailure when its engine can never serve. */
export async function untilStopped(stopped: Promise<string>, engine: Engine): Promise<string> {
  const first = await Promise.race([stopped, engine.unusable]);
  if (typeof first === 'string') return first;
  throw engineUnusable(first);
}

export function engineUnusable({ message }: EngineUnusable): CliFailure {
  return new CliFailure('engine_unusable', `The engine cannot be used: ${message}.`);
}

/** Resolves with the signal that stops a node; throws where its control plane refuses to let it join. */
export async function stopOrRefusal(stopped: Promise<string>, edge: Edge): Promise<string> {
  const refused = edge.joinRefused.then((message) => {
    throw new CliFailure('join_refused', `The control plane does not let this node join. ${message}`, {
      hint: 'Then start it again; `edge join-token` at the control plane makes another token.',
    });
  });
  return await Promise.race([stopped, refused]);
}

/** Whether the node of this data directory has joined a control plane, or still has what that told it. */
export function hasJoined(dataDir: string): boolean {
  const names = ['node.json', 'node.json.previous', 'desired.state', 'desired.state.previous'];
  return names.some((name) => existsSync(join(dataDir, name)));
}

/** The host's name, with the characters and the length that an id may have. */
export function nodeIdOfHost(): string {
  return plainHostName(FUNCTION_BOUNDS.nameLengthMax);
}

const HOST_LENGTH_MAX = 255;

function plainHostName(lengthMax: number): string {
  const name = hostname()
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, lengthMax);
  return name === '' ? 'edge' : name;
}

/** Refuses a data directory that another node has. A node that has joined starts also where it cannot lock it. */
export function claimNodeDir(dir: string, closing: AsyncDisposableStack, log: Log): void {
  try {
    claimDataDir(dir, 'node', closing);
  } catch (failure) {
    const isInUse = failure instanceof CliFailure && failure.code === 'data_dir_in_use';
    if (isInUse || !hasJoined(dir)) throw failure;
    log.error('the data directory cannot be locked; no second node may use it', { error: String(failure) });
  }
}

/** A node that has joined serves what it has, also from a disk that it may not write. */
function warnUnwritable(dirs: readonly string[], log: Log): void {
  for (const dir of dirs.filter((one) => !isWritable(one)))
    log.error('a directory cannot be written; the node serves what it has', { dir });
}

/**
 * `/var/cache/wasm` where it can be written, or holds the artifacts of this user; the user's cache directory
 * otherwise; else a folder of `dataDir`.
 */
export function systemCacheDir(env: Environment, dataDir: string): string {
  const system = '/var/cache/wasm';
  if (isWritable(system) || isReadable(join(system, 'index.sqlite'))) return system;
  const [cacheHome] = cacheHomes(env);
  return cacheHome === undefined ? resolve(dataDir, 'cache') : join(cacheHome, 'edge', 'wasm');
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
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
