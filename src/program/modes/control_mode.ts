// `--mode=cp`: a control plane with a metrics listener of its own.
import { join } from 'node:path';
import { openIdleCollector } from '../../base/heap.ts';
import { createMetrics } from '../../base/metrics.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { openMetricsListener } from '../../edge/figures/metrics_listener.ts';
import type { Context } from './context.ts';
import { ADMIN_TOKEN_FILE, openFilesOfControl, wireControlPlane } from './control_plane.ts';
import { checkOpenFiles, explainBindFailures, localUrl, openLog, stopSignal } from './lifetime.ts';

export async function runControlMode(settings: SettingsOf<'cp'>, context: Context): Promise<number> {
  const stopped = stopSignal();
  const { terminal } = context;
  const { dataDir, edgeUrl, metricsListen } = settings;
  const log = openLog(context, { level: settings.logLevel, isQuiet: false });
  const metrics = createMetrics();
  await using closing = new AsyncDisposableStack();
  closing.use(openIdleCollector());
  const plane = await wireControlPlane({ settings, context, log, metrics, closing });
  const listener = await explainBindFailures([{ flag: '--metrics-listen', address: metricsListen }], () =>
    openMetricsListener({ listen: metricsListen, metrics, waitingFor: () => [] }),
  );
  closing.defer(() => listener.close());
  checkOpenFiles(await openFilesOfControl(plane.control), context, log);
  await plane.writeProfile(edgeUrl);
  const joinToken = `"$(edge join-token --data-dir ${dataDir})"`;
  terminal.note(`control plane  ${plane.url}`);
  terminal.note(`metrics        ${localUrl(metricsListen, listener.port)}/metrics`);
  terminal.note(`data           ${dataDir} (admin token: ${join(dataDir, ADMIN_TOKEN_FILE)})`);
  terminal.note(`next           edge --mode=edge --cp-url ${plane.url} --join-token ${joinToken}`);
  log.info('stopping', { signal: await stopped });
  return 0;
}
