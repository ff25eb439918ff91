// `edge up`: a control plane and one edge in one process, which talk without a socket.
import { join, resolve } from 'node:path';
import { openIdleCollector } from '../../base/heap.ts';
import { createId, randomFraction } from '../../base/id.ts';
import { createMetrics } from '../../base/metrics.ts';
import { type Api, createApi } from '../../cli/api.ts';
import { deploy, NO_DEPLOY_SETTINGS } from '../../cli/deploy.ts';
import { findFunction } from '../../cli/lookup.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { JoinTokenAnswer } from '../../model/api.ts';
import { openAssets } from '../embedded/assets.ts';
import type { Context } from './context.ts';
import { type ControlPlane, openFilesOfControl, wireControlPlane } from './control_plane.ts';
import { mergeMetrics } from './exposition.ts';
import { checkOpenFiles, localUrl, openLog, stopSignal } from './lifetime.ts';
import { claimNodeDir, openFilesOfNode, stopOrRefusal, untilStopped, wireEdge, wireEngine } from './node.ts';

const DEMO = { name: 'hello', route: '/hello', waitSecs: 30 };

export async function runUpMode(settings: SettingsOf<'up'>, context: Context): Promise<number> {
  const stopped = stopSignal();
  const { terminal } = context;
  const { listen, metricsListen } = settings;
  const dataDir = resolve(settings.dataDir);
  const nodeDir = join(dataDir, 'node');
  const cacheDir = resolve(settings.cacheDir ?? join(dataDir, 'cache'));
  const nodeId = settings.nodeId ?? 'local';
  const log = openLog(context, { level: settings.logLevel, isQuiet: true });
  const controlMetrics = createMetrics();
  const metrics = mergeMetrics(createMetrics(), controlMetrics);
  await using closing = new AsyncDisposableStack();
  closing.use(openIdleCollector());
  const plane = await wireControlPlane({
    settings: { ...settings, dataDir },
    context,
    log,
    metrics: controlMetrics,
    closing,
  });
  claimNodeDir(nodeDir, closing, log);
  const opened = [...(await openFilesOfControl(plane.control)), ...openFilesOfNode(settings)];
  checkOpenFiles(opened, context, log);
  const engine = await wireEngine({ settings, dataDir: nodeDir, cacheDir, context, log, closing });
  const joinToken = (): Promise<string> => makeJoinToken(createInProcessApi(plane, context), nodeId);
  const node = { nodeId, dataDir: nodeDir, cacheDir, cpUrl: plane.url, joinToken };
  const controlFetch = (request: Request): Promise<Response> => plane.control.handle(request);
  const edge = await wireEdge({ settings, node, engine, controlFetch, context, log, metrics, closing });
  const edgeUrl = settings.edgeUrl ?? localUrl(listen, edge.port);
  await plane.writeProfile(edgeUrl);
  terminal.note(`functions      ${edgeUrl}`);
  terminal.note(`control plane  ${plane.url}`);
  terminal.note(`metrics        ${localUrl(metricsListen, edge.metricsPort)}/metrics`);
  terminal.note(`data           ${dataDir}`);
  if (settings.demo) await deployDemo(createInProcessApi(plane, context), edgeUrl, context);
  else terminal.note(`next           edge deploy FILE.wasm --name hello --route /hello`);
  log.info('stopping', { signal: await untilStopped(stopOrRefusal(stopped, edge), engine) });
  return 0;
}

/** The API of this process's own control plane; uses neither its socket nor its public URL. */
function createInProcessApi(plane: ControlPlane, { clock, random }: Context): Api {
  return createApi({
    connection: { url: plane.url, token: plane.adminToken(), edgeUrl: null },
    fetch(url, init) {
      const { pathname, search } = new URL(url);
      return plane.control.handle(new Request(`${plane.url}${pathname}${search}`, init));
    },
    clock,
    random: () => randomFraction(random),
    commandKey: createId('up', clock.nowMs(), random),
  });
}

/** A token for this id alone: with it a node whose files were lost may join again at once. */
async function makeJoinToken(api: Api, nodeId: string): Promise<string> {
  return (await api.post('/nodes/join-tokens', { node_id: nodeId }, JoinTokenAnswer)).join_token;
}

async function deployDemo(api: Api, edgeUrl: string, { terminal, clock }: Context): Promise<void> {
  if ((await findFunction(api, DEMO.name, { project: null })) === null) {
    const bytes = new Uint8Array(await openAssets().hello.arrayBuffer());
    const settings = { ...NO_DEPLOY_SETTINGS, ...DEMO };
    await deploy({ file: 'hello.wasm', bytes }, settings, { api, terminal, clock });
  }
  terminal.note(`next           curl ${edgeUrl}${DEMO.route}`);
}
