// `edge run`: one module behind a listener, without a control plane.
import { join, resolve } from 'node:path';
import { CodedError } from '../../base/errors.ts';
import { openHeapKeeper } from '../../base/heap.ts';
import { createMetrics } from '../../base/metrics.ts';
import { CliFailure } from '../../cli/failure.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { edgeLimits } from '../../edge/edge.ts';
import { createSingleRunner } from '../../edge/single.ts';
import { defaultVersionSettings, type VersionSettings } from '../../model/function.ts';
import { readModule } from './client_mode.ts';
import type { Context } from './context.ts';
import { binding, openLog, reachable, stopSignal } from './lifetime.ts';
import { openEngine } from './node.ts';

export async function runModule(
  file: string,
  settings: SettingsOf<'run'>,
  context: Context,
): Promise<number> {
  const stopped = stopSignal();
  const { clock, random, terminal } = context;
  const bytes = await readModule(file);
  const log = openLog(context, { level: settings.logLevel, isQuiet: true });
  const dataDir = resolve(settings.dataDir, 'run');
  const cacheDir = resolve(settings.cacheDir ?? join(dataDir, 'cache'));
  await using closing = new AsyncDisposableStack();
  closing.use(openHeapKeeper());
  const engine = await openEngine({ settings, dataDir, cacheDir, context, log, closing });
  const { listen, accessLog } = settings;
  const runner = await binding([{ flag: '--listen', address: listen }], () =>
    told(file, () =>
      createSingleRunner({
        bytes,
        settings: versionSettings(settings),
        engine,
        listen,
        metricsListen: null,
        limits: { ...edgeLimits, requestBytesMax: settings.requestBytesMax },
        accessLog,
        drainMs: settings.drainSecs * 1_000,
        clock,
        random,
        log,
        metrics: createMetrics(),
      }),
    ),
  );
  closing.defer(() => runner.close());
  const url = reachable(listen, runner.port);
  terminal.note(`${file} answers every path at ${url}`);
  terminal.note(`next  curl ${url}/`);
  log.info('stopping', { signal: await stopped });
  return 0;
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

/** A refusal of the module by its code. */
async function told<T>(file: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (failure) {
    if (failure instanceof CodedError) throw new CliFailure(failure.code, `${file}: ${failure.message}`);
    throw failure;
  }
}
