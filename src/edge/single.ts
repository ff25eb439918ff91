// One module behind a listener of its own, without a control plane: what `edge run` starts.
import type { Clock } from '../base/clock.ts';
import { runInSlices, sha256Of } from '../base/concurrency.ts';
import { within } from '../base/deadline.ts';
import { CodedError } from '../base/errors.ts';
import { createId, type RandomBytes, randomFraction } from '../base/id.ts';
import { EDGE_TUNING } from '../base/limits/edge.ts';
import { ENGINE_BOUNDS } from '../base/limits/engine.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import { backoffMs } from '../base/retry.ts';
import type { Code, Engine, Pool } from '../engine/engine.ts';
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
  /** Tells the person who started it what the log alone would say. */
  note: (line: string) => void;
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
  const functionId = createId('fn', clock.nowMs(), random);
  const instances = createInstances({ ...options, functionId, sha256 });
  const first = await instances.start(await instances.prepare());
  opened.defer(() => instances.close());
  const figures = createEdgeFigures({ metrics, clock });
  const routing = createRouting();
  const routed = {
    current: {
      functionId,
      version: VERSION,
      maxExecutionMs: settings.max_execution_ms,
      quota: createQuota(NO_QUOTA),
      figures: figures.openVersion(functionId),
      pool: first.pool,
    },
  };
  routing.replace([{ rule: RULE, target: routed }]);
  const config = { ...limits, listen: options.listen, accessLog: options.accessLog };
  const { stopListening } = engine;
  const server = openFunctionServer({ config, routing, figures, clock, random, log, stopListening });
  const stopping = new AbortController();
  const replace = async (code: Code): Promise<void> => {
    const next = await instances.start(code);
    routed.current = { ...routed.current, pool: next.pool };
  };
  const compiled = first.code.isStandIn
    ? compileLater({ ...options, prepare: instances.prepare, replace, signal: stopping.signal })
    : Promise.resolve();
  const closing = opened.move();
  return {
    port: server.port,
    sha256,
    async close() {
      stopping.abort();
      await within(clock, drainMs, server.drain());
      server.refuseNew();
      await within(clock, ENGINE_BOUNDS.closeMs, compiled);
      await closing.disposeAsync();
      await server.close();
    },
  };
}

/** A pool of the module, and the code that it runs. */
type Instance = { code: Code; pool: Pool };

type Instances = {
  /** Throws a `CodedError` when the module is refused. */
  prepare(signal?: AbortSignal): Promise<Code>;
  /** Opens a pool, which takes the place of the last; that one ends. Throws when the module does not start. */
  start(code: Code): Promise<Instance>;
  close(): Promise<void>;
};

function createInstances(options: SingleRunnerOptions & { functionId: string; sha256: string }): Instances {
  const { bytes, drainMs, engine, functionId, poolWorkersMin, settings, sha256 } = options;
  const ref = { functionId, projectId: 'local', version: VERSION };
  const ending = new Set<Promise<void>>();
  let current: Instance | null = null;
  const end = ({ code, pool }: Instance, graceMs: number): Promise<void> => {
    const ended = pool
      .close({ graceMs })
      .finally(() => code.close())
      .finally(() => ending.delete(ended));
    ending.add(ended);
    return ended;
  };
  return {
    async prepare(signal) {
      const input = { artifact: bytes, sha256, settings };
      const prepared = await engine.prepare(signal === undefined ? input : { ...input, signal });
      if (!prepared.ok) throw new CodedError(prepared.code, { message: prepared.message });
      return prepared.code;
    },
    async start(code) {
      const next = { code, pool: engine.openPool({ ref, code, settings }) };
      try {
        await warm(next.pool, Math.max(1, poolWorkersMin));
      } catch (failure) {
        await end(next, 0);
        throw failure;
      }
      if (current !== null) void end(current, settings.max_execution_ms);
      current = next;
      return next;
    },
    async close() {
      if (current !== null) void end(current, drainMs);
      await Promise.all(ending);
    },
  };
}

const BACKOFF = {
  delayMsMin: EDGE_TUNING.recompileDelayMsMin,
  delayMsMax: EDGE_TUNING.recompileDelayMsMax,
};

/** Compiles a module again for which the interpreter stands in; never rejects. */
async function compileLater(options: {
  prepare: Instances['prepare'];
  /** Requests go to a pool of this code from here on. */
  replace: (code: Code) => Promise<void>;
  signal: AbortSignal;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  note: SingleRunnerOptions['note'];
}): Promise<void> {
  const { clock, log, note, prepare, random, replace, signal } = options;
  note('The module could not be compiled for now: it runs in the interpreter and is compiled again soon.');
  for (let attempt = 1; attempt <= EDGE_TUNING.recompilesMax; attempt += 1) {
    await clock.sleep(Math.ceil(backoffMs(attempt - 1, BACKOFF, () => randomFraction(random))), signal);
    if (signal.aborted) return;
    try {
      const code = await prepare(signal);
      if (code.execution === 'aot') {
        await replace(code);
        return note('The module is compiled: it runs at full speed from here on.');
      }
      code.close();
      if (!code.isStandIn) break;
    } catch (failure) {
      log.warn('the module could not be compiled again', { attempt, error: String(failure) });
    }
  }
  if (!signal.aborted) note('The module stays in the interpreter: the log says why.');
}

/** Fewer workers than asked for are enough where the node has no room for more. */
async function warm(pool: Pool, workers: number): Promise<void> {
  const warmed = await pool.warm(workers);
  const { busy, idle } = pool.stats();
  if (warmed.ok || busy + idle > 0) return;
  throw new CodedError(warmed.code, warmed.detail === null ? {} : { message: warmed.detail });
}
