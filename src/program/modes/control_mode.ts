// `--mode=cp`: a control plane with a metrics listener of its own.
import { join } from 'node:path';
import { openHeapKeeper } from '../../base/heap.ts';
import { createMetrics } from '../../base/metrics.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { openMetricsListener } from '../../edge/figures/metrics_listener.ts';
import type { Context } from './context.ts';
import { ADMIN_TOKEN_FILE, openControlPlane } from './control_plane.ts';
import { binding, openLog, reachable, stopSignal } from './lifetime.ts';

export async function runControl(settings: SettingsOf<'cp'>, context: Context): Promise<number> {
  const stopped = stopSignal();
  const log = openLog(context, { level: settings.logLevel, isQuiet: false });
  const metrics = createMetrics();
  await using closing = new AsyncDisposableStack();
  closing.use(openHeapKeeper());
  const plane = await openControlPlane({ settings, context, log, metrics, closing });
  const { metricsListen } = settings;
  const listener = await binding([{ flag: '--metrics-listen', address: metricsListen }], () =>
    openMetricsListener({ listen: metricsListen, metrics, isReady: () => true }),
  );
  closing.defer(() => listener.close());
  await plane.writeProfile(settings.edgeUrl);
  const { terminal } = context;
  terminal.note(`control plane  ${plane.url}`);
  terminal.note(`metrics        ${reachable(metricsListen, listener.port)}/metrics`);
  terminal.note(
    `data           ${settings.dataDir} (the admin token is in ${join(settings.dataDir, ADMIN_TOKEN_FILE)})`,
  );
  const token = `"$(edge join-token --data-dir ${settings.dataDir})"`;
  terminal.note(`next           edge --mode=edge --cp-url ${plane.url} --join-token ${token}`);
  log.info('stopping', { signal: await stopped });
  return 0;
}
