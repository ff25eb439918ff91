// `edge up`: a control plane and one edge in one process, which talk without a socket.
import { join, resolve } from 'node:path';
import { openIdleCollector } from '../../base/heap.ts';
import { createId, randomFraction } from '../../base/id.ts';
import { createMetrics } from '../../base/metrics.ts';
import { type Api, createApi } from '../../cli/api.ts';
import { deploy, NO_DEPLOY_SETTINGS } from '../../cli/deployments/deploy.ts';
import { CliFailure } from '../../cli/failure.ts';
import { findFunction, listAll } from '../../cli/lookup.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { JoinTokenAnswer } from '../../model/api.ts';
import type { Labels } from '../../model/names.ts';
import { EdgeNode } from '../../model/node.ts';
import { openAssets } from '../embedded/assets.ts';
import type { Context } from './context.ts';
import { type ControlPlane, openFilesOfControl, wireControlPlane } from './control_plane.ts';
import { mergeMetrics } from './exposition.ts';
import { checkOpenFiles, localUrl, openLog, stopSignal } from './lifetime.ts';
import { claimNodeDir, openFilesOfNode, stopOrRefusal, untilStopped, wireEdge, wireEngine } from './node.ts';

/** The node of this process joins within milliseconds; nothing depends on it. */
const JOIN_MS_MAX = 2_000;
const JOIN_STEP_MS = 5;

/** Allowed before the node of this process has joined. */
const DEMO = { name: 'hello', route: '/hello', waitSecs: 30, allowEmpty: true };

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
  const api = createInProcessApi(plane, context);
  const { labels } = settings;
  await labelNode(api, { nodeId, labels });
  const joinToken = (): Promise<string> => makeJoinToken(api, { nodeId, labels });
  const node = { nodeId, dataDir: nodeDir, cacheDir, cpUrl: plane.url, joinToken };
  const controlFetch = (request: Request): Promise<Response> => plane.control.handle(request);
  const edge = await wireEdge({ settings, node, engine, controlFetch, context, log, metrics, closing });
  const edgeUrl = settings.edgeUrl ?? localUrl(listen, edge.port);
  await nodeJoined(api, context);
  await plane.writeProfile(edgeUrl);
  terminal.note(`functions      ${edgeUrl}`);
  terminal.note(`control plane  ${plane.url}`);
  terminal.note(`metrics        ${localUrl(metricsListen, edge.metricsPort)}/metrics`);
  terminal.note(`data           ${dataDir}`);
  if (settings.demo) await deployDemo(api, edgeUrl, context);
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
async function makeJoinToken(api: Api, node: { nodeId: string; labels: Labels }): Promise<string> {
  const request = { node_id: node.nodeId, labels: node.labels };
  return (await api.post('/nodes/join-tokens', request, JoinTokenAnswer)).join_token;
}

/** Who starts `edge up` is its operator: the labels of the command line are those of the node. */
async function labelNode(api: Api, { nodeId, labels }: { nodeId: string; labels: Labels }): Promise<void> {
  if (Object.keys(labels).length === 0) return;
  try {
    await api.patch(`/nodes/${nodeId}`, { labels }, EdgeNode);
  } catch (failure) {
    // It joins, or joins again, with a token that has these labels.
    if (!(failure instanceof CliFailure) || failure.code !== 'node_not_found') throw failure;
  }
}

/** A deploy is refused where no node has joined: the profile, which invites to one, waits for this node. */
async function nodeJoined(api: Api, { clock }: Context): Promise<void> {
  const endMs = clock.monotonicMs() + JOIN_MS_MAX;
  while (clock.monotonicMs() < endMs) {
    if ((await listAll(api, '/nodes', EdgeNode)).length > 0) return;
    await clock.sleep(JOIN_STEP_MS);
  }
}

async function deployDemo(api: Api, edgeUrl: string, { terminal, clock }: Context): Promise<void> {
  if ((await findFunction(api, DEMO.name, { project: null })) === null) {
    const bytes = new Uint8Array(await openAssets().hello.arrayBuffer());
    const settings = { ...NO_DEPLOY_SETTINGS, ...DEMO };
    await deploy({ file: 'hello.wasm', bytes }, settings, { api, terminal, clock });
  }
  terminal.note(`next           curl ${edgeUrl}${DEMO.route}`);
}
