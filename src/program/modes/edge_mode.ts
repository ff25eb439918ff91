// `--mode=edge`: one node whose control plane runs elsewhere.
import { resolve } from 'node:path';
import { openIdleCollector } from '../../base/heap.ts';
import { createMetrics } from '../../base/metrics.ts';
import { CliFailure } from '../../cli/failure.ts';
import type { SettingsOf } from '../../config/settings.ts';
import type { Context } from './context.ts';
import { checkOpenFiles, localUrl, openLog, stopSignal } from './lifetime.ts';
import {
  claimNodeDir,
  hasJoined,
  nodeIdOfHost,
  openFilesOfNode,
  stopOrRefusal,
  systemCacheDir,
  untilStopped,
  wireEdge,
  wireEngine,
} from './node.ts';

export async function runEdgeMode(settings: SettingsOf<'edge'>, context: Context): Promise<number> {
  const stopped = stopSignal();
  const { terminal } = context;
  const { cpUrl, joinToken, listen, metricsListen, popId } = settings;
  if (cpUrl === null) throw new CliFailure('usage', '--mode=edge needs --cp-url URL');
  const dataDir = resolve(settings.dataDir);
  if (joinToken === null && !hasJoined(dataDir)) throw joinTokenMissing(dataDir);
  const cacheDir = resolve(settings.cacheDir ?? systemCacheDir(context.env, dataDir));
  const nodeId = settings.nodeId ?? nodeIdOfHost();
  const log = openLog(context, { level: settings.logLevel, isQuiet: false });
  const metrics = createMetrics();
  await using closing = new AsyncDisposableStack();
  closing.use(openIdleCollector());
  claimNodeDir(dataDir, closing, log);
  checkOpenFiles(openFilesOfNode(settings), context, log);
  const engine = await wireEngine({ settings, dataDir, cacheDir, context, log, closing });
  const token = joinToken === null ? null : (): Promise<string> => Promise.resolve(joinToken);
  const node = { nodeId, dataDir, cacheDir, cpUrl, joinToken: token };
  const controlFetch = (request: Request): Promise<Response> => fetch(request);
  const edge = await wireEdge({ settings, node, engine, controlFetch, context, log, metrics, closing });
  terminal.note(`edge     ${localUrl(listen, edge.port)} (node ${nodeId}, pop ${popId})`);
  terminal.note(`metrics  ${localUrl(metricsListen, edge.metricsPort)}/metrics`);
  terminal.note(`data     ${dataDir}, cache ${cacheDir}`);
  log.info('stopping', { signal: await untilStopped(stopOrRefusal(stopped, edge), engine) });
  return 0;
}

function joinTokenMissing(dataDir: string): CliFailure {
  const message = `The node of ${dataDir} has not joined a control plane, and there is no join token.`;
  const hint = 'Run `edge join-token` at the control plane and pass its output as EDGE_JOIN_TOKEN.';
  return new CliFailure('join_token_missing', message, { hint });
}
