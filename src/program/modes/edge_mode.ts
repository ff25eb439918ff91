// `--mode=edge`: one node that belongs to a control plane elsewhere.
import { resolve } from 'node:path';
import { openHeapKeeper } from '../../base/heap.ts';
import { createMetrics } from '../../base/metrics.ts';
import { CliFailure } from '../../cli/failure.ts';
import type { SettingsOf } from '../../config/settings.ts';
import type { Context } from './context.ts';
import { claim, openLog, reachable, stopSignal } from './lifetime.ts';
import { cacheDirOf, hasJoined, nodeIdOfHost, openEdge, openEngine } from './node.ts';

export async function runEdge(settings: SettingsOf<'edge'>, context: Context): Promise<number> {
  const stopped = stopSignal();
  const { cpUrl, joinToken } = settings;
  if (cpUrl === null) throw new CliFailure('usage', '--mode=edge needs --cp-url URL');
  const dataDir = resolve(settings.dataDir);
  if (joinToken === null && !hasJoined(dataDir)) {
    throw new CliFailure('join_token_missing', 'This node has not joined its control plane yet.', {
      hint: '`edge join-token` at the control plane makes one; give it with --join-token or EDGE_JOIN_TOKEN.',
    });
  }
  const log = openLog(context, { level: settings.logLevel, isQuiet: false });
  const metrics = createMetrics();
  const cacheDir = resolve(settings.cacheDir ?? cacheDirOf(context.env, dataDir));
  const node = { nodeId: settings.nodeId ?? nodeIdOfHost(), dataDir, cacheDir, cpUrl, joinToken };
  await using closing = new AsyncDisposableStack();
  closing.use(openHeapKeeper());
  claim(dataDir, 'node', closing);
  const engine = await openEngine({ settings, dataDir, cacheDir, context, log, closing });
  const controlFetch = (request: Request): Promise<Response> => fetch(request);
  const edge = await openEdge({ settings, node, engine, controlFetch, context, log, metrics, closing });
  const { terminal } = context;
  terminal.note(
    `edge     ${reachable(settings.listen, edge.port)} (node ${node.nodeId}, pop ${settings.popId})`,
  );
  terminal.note(`metrics  ${reachable(settings.metricsListen, edge.metricsPort)}/metrics`);
  terminal.note(`data     ${dataDir}, cache ${cacheDir}`);
  log.info('stopping', { signal: await stopped });
  return 0;
}
