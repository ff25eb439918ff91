// One module behind a listener of its own, without a control plane: what `edge run` starts.
import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/errors.ts';
import { createId, type RandomBytes } from '../base/id.ts';
import { POOL_DEFAULTS } from '../base/limits/pool.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Engine, Pool } from '../engine/engine.ts';
import type { VersionSettings } from '../model/function.ts';
import { createQuota } from '../model/rules/quota.ts';
import type { ListenAddress } from '../model/listen_address.ts';
import { digestOf } from './reconcile/cache.ts';
import { createEdgeFigures } from './figures/figures.ts';
import {
  openFunctionServer,
  type FunctionServer,
  type ServeConfig,
  type ServeLimits,
} from './serve/serve.ts';
import { createRouting } from './serve/routing.ts';

export type SingleRunnerOptions = {
  bytes: Uint8Array;
  settings: VersionSettings;
  /** Stays the caller's, who closes it after the runner. */
  engine: Engine;
  listen: ListenAddress;
  limits: ServeLimits;
  accessLog: ServeConfig['accessLog'];
  drainMs: number;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  metrics: Metrics;
};

export type SingleRunner = {
  readonly port: number;
  readonly sha256: string;
  close(): Promise<void>;
};

const VERSION = '0.0.0';

/**
 * Every host, path and method leads to the module. Rejects with the code of the refusal when it cannot run.
 */
export async function createSingleRunner(options: SingleRunnerOptions): Promise<SingleRunner> {
  const { bytes, settings, engine, clock, random, log, metrics, limits, accessLog } = options;
  const sha256 = digestOf(bytes);
  await engine.ready();
  const prepared = await engine.prepare({ artifact: bytes, sha256, settings });
  if (!prepared.ok) throw new CodedError(prepared.code, { message: prepared.message });
  const { code } = prepared;
  const functionId = createId('fn', clock.nowMs(), random);
  const pool: Pool = engine.openPool({
    ref: { functionId, projectId: 'local', version: VERSION },
    code,
    settings,
  });
  const listeners: FunctionServer[] = [];
  const close = async (): Promise<void> => {
    const finished = new AbortController();
    const late = clock.sleep(options.drainMs, finished.signal);
    await Promise.race([Promise.all(listeners.map((listener) => listener.drain())), late]);
    finished.abort();
    await pool.close({ graceMs: options.drainMs });
    code.close();
    await Promise.all(listeners.map((listener) => listener.close()));
  };
  try {
    const warmed = await pool.warm(POOL_DEFAULTS.workersMin);
    if (!warmed.ok)
      throw new CodedError(warmed.code, warmed.detail === null ? {} : { message: warmed.detail });
    const figures = createEdgeFigures({ metrics, clock });
    const routing = createRouting();
    const quota = createQuota({
      concurrentMax: Number.MAX_SAFE_INTEGER,
      perMinuteMax: Number.MAX_SAFE_INTEGER,
    });
    const { max_execution_ms: maxExecutionMs } = settings;
    const version = {
      functionId,
      version: VERSION,
      maxExecutionMs,
      quota,
      figures: figures.openVersion(functionId),
      pool,
    };
    const rule = { host: '*', path: '/*', methods: [], priority: 0 };
    routing.replace([{ rule, target: { current: version } }]);
    const config = { ...limits, listen: options.listen, accessLog };
    const main = openFunctionServer({ config, routing, figures, clock, random, log });
    listeners.push(main);
    return { port: main.port, sha256, close };
  } catch (failure) {
    await close();
    throw failure;
  }
}
