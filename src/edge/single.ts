// One module behind a listener of its own, without a control plane: what `edge run` starts.
import type { Clock } from '../base/clock.ts';
import { runInSlices, sha256Of } from '../base/concurrency.ts';
import { within } from '../base/deadline.ts';
import { CodedError } from '../base/errors.ts';
import { createId, type RandomBytes } from '../base/id.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Engine, Pool } from '../engine/engine.ts';
import type { VersionSettings } from '../model/function.ts';
import type { ListenAddress } from '../model/listen_address.ts';
import { createQuota } from '../model/rules/quota.ts';
import { createEdgeFigures } from './figures/figures.ts';
import { createRouting } from './serve/routing.ts';
import { openFunctionServer, type ServeConfig, type ServeLimits } from './serve/serve.ts';

export type SingleRunnerOptions = {
  bytes: Uint8Array;
  settings: VersionSettings;
  /** Stays the caller's, who closes it after the runner. */
  engine: Engine;
  listen: ListenAddress;
  limits: ServeLimits;
  accessLog: ServeConfig['accessLog'];
  /** Workers to warm before the runner listens; 0 warms one all the same, to prove that the module starts. */
  poolWorkersMin: number;
  drainMs: number;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  metrics: Metrics;
};

export type SingleRunner = {
  /** The port that is listened on, also where 0 was asked for. */
  readonly port: number;
  /** Digest of the module. */
  readonly sha256: string;
  /** Answers the running requests for at most `drainMs`, then ends the pool, again for at most that time. */
  close(): Promise<void>;
};

const VERSION = '0.0.0';
const RULE = { host: '*', path: '/*', methods: [], priority: 0 };
const NO_QUOTA = { concurrentMax: Number.MAX_SAFE_INTEGER, perMinuteMax: Number.MAX_SAFE_INTEGER };

/**
 * Every host, path and method leads to the module. Rejects with a `CodedError` when the module is refused or
 * does not start, and where the address cannot be used.
 */
export async function createSingleRunner(options: SingleRunnerOptions): Promise<SingleRunner> {
  const { bytes, settings, engine, clock, random, log, metrics, limits, drainMs } = options;
  await engine.ready();
  const sha256 = await runInSlices(clock, sha256Of(bytes));
  await using opened = new AsyncDisposableStack();
  const prepared = await engine.prepare({ artifact: bytes, sha256, settings });
  if (!prepared.ok) throw new CodedError(prepared.code, { message: prepared.message });
  const { code } = prepared;
  opened.defer(() => code.close());
  const functionId = createId('fn', clock.nowMs(), random);
  const ref = { functionId, projectId: 'local', version: VERSION };
  const pool = engine.openPool({ ref, code, settings });
  opened.defer(() => pool.close({ graceMs: drainMs }));
  await warm(pool, Math.max(1, options.poolWorkersMin));
  const figures = createEdgeFigures({ metrics, clock });
  const routing = createRouting();
  const version = {
    functionId,
    version: VERSION,
    maxExecutionMs: settings.max_execution_ms,
    quota: createQuota(NO_QUOTA),
    figures: figures.openVersion(functionId),
    pool,
  };
  routing.replace([{ rule: RULE, target: { current: version } }]);
  const config = { ...limits, listen: options.listen, accessLog: options.accessLog };
  const { stopListening } = engine;
  const server = openFunctionServer({ config, routing, figures, clock, random, log, stopListening });
  const closing = opened.move();
  return {
    port: server.port,
    sha256,
    async close() {
      await within(clock, drainMs, server.drain());
      server.refuseNew();
      await closing.disposeAsync();
      await server.close();
    },
  };
}

async function warm(pool: Pool, workers: number): Promise<void> {
  const warmed = await pool.warm(workers);
  if (warmed.ok) return;
  throw new CodedError(warmed.code, warmed.detail === null ? {} : { message: warmed.detail });
}
