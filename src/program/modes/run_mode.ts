// `edge run`: one module behind a listener, without a control plane.
import { join, resolve } from 'node:path';
import { CodedError } from '../../base/errors.ts';
import { openIdleCollector } from '../../base/heap.ts';
import { createMetrics } from '../../base/metrics.ts';
import { CliFailure } from '../../cli/failure.ts';
import { readModule } from '../../cli/module_file.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { edgeLimits } from '../../edge/edge.ts';
import { createSingleRunner, type SingleRunner } from '../../edge/single.ts';
import type { Engine } from '../../engine/engine.ts';
import { EngineUnusable } from '../../engine/ring/process_exit.ts';
import { defaultVersionSettings, type VersionSettings } from '../../model/function.ts';
import type { Context } from './context.ts';
import { checkOpenFiles, explainBindFailures, localUrl, openLog, stopSignal } from './lifetime.ts';
import { engineUnusable, openFilesOfNode, untilStopped, wireEngine } from './node.ts';

export async function runSingleMode(
  file: string,
  settings: SettingsOf<'run'>,
  context: Context,
): Promise<number> {
  const stopped = stopSignal();
  const { clock, random, terminal } = context;
  const { accessLog, listen } = settings;
  const bytes = await readModule(file);
  const log = openLog(context, { level: settings.logLevel, isQuiet: true });
  const dataDir = resolve(settings.dataDir, 'run');
  const cacheDir = resolve(settings.cacheDir ?? join(dataDir, 'cache'));
  await using closing = new AsyncDisposableStack();
  closing.use(openIdleCollector());
  checkOpenFiles(openFilesOfNode(settings), context, log);
  const engine = await wireEngine({ settings, dataDir, cacheDir, context, log, closing });
  await requireWall(engine);
  const createRunner = (): Promise<SingleRunner> =>
    createSingleRunner({
      bytes,
      settings: versionSettings(settings),
      engine,
      listen,
      limits: { ...edgeLimits, requestBytesMax: settings.requestBytesMax },
      accessLog,
      poolWorkersMin: Math.min(settings.poolWorkersMin, settings.maxHotInstances),
      drainMs: settings.drainSecs * 1_000,
      clock,
      random,
      log,
      metrics: createMetrics(),
      note: (line) => terminal.note(line),
    });
  const runner = await explainBindFailures([{ flag: '--listen', address: listen }], () =>
    explainRefusal(file, createRunner),
  );
  closing.defer(() => runner.close());
  const url = localUrl(listen, runner.port);
  terminal.note(`${file} answers every path at ${url}`);
  terminal.note(`next  curl ${url}/`);
  log.info('stopping', { signal: await untilStopped(stopped, engine) });
  return 0;
}

/** Throws a CliFailure where no guest may run on this machine, or the engine can never serve. */
async function requireWall(engine: Engine): Promise<void> {
  const refusal = await Promise.race([engine.wallRefusal(), engine.unusable]);
  if (refusal instanceof EngineUnusable) throw engineUnusable(refusal);
  if (refusal !== null) throw new CliFailure('wall_missing', refusal);
}

function versionSettings(settings: SettingsOf<'run'>): VersionSettings {
  const { entrypoint, memoryPages, maxExecutionMs, isolation, env } = settings;
  return {
    entrypoint: entrypoint ?? defaultVersionSettings.entrypoint,
    memory_pages: memoryPages ?? defaultVersionSettings.memory_pages,
    max_execution_ms: maxExecutionMs ?? defaultVersionSettings.max_execution_ms,
    isolation: isolation ?? defaultVersionSettings.isolation,
    max_reuse: defaultVersionSettings.max_reuse,
    env: env ?? {},
  };
}

/** A refusal of the module becomes a CliFailure that names its file, an engine that never serves another. */
async function explainRefusal<T>(file: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (failure) {
    if (failure instanceof CodedError) throw new CliFailure(failure.code, `${file}: ${failure.message}`);
    throw failure instanceof EngineUnusable ? engineUnusable(failure) : failure;
  }
}
