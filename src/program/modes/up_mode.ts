// `edge up`: a control plane and one edge in one process tree; they meet in the control plane's own handler.
import { join, resolve } from 'node:path';
import { openAssets } from '../embedded/assets.ts';
import { openHeapKeeper } from '../../base/heap.ts';
import { createId, randomFraction } from '../../base/id.ts';
import { createMetrics } from '../../base/metrics.ts';
import { type Api, createApi } from '../../cli/api.ts';
import { deploy } from '../../cli/deploy.ts';
import { findFunction } from '../../cli/lookup.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { JoinTokenAnswer } from '../../model/api.ts';
import type { Context } from './context.ts';
import { type ControlPlane, openControlPlane } from './control_mode.ts';
import { withMetrics } from './exposition.ts';
import { claim, openLog, reachable, stopSignal } from './lifetime.ts';
import { hasJoined, openEdge, openEngine } from './node.ts';

const DEMO = { name: 'hello', route: '/hello' };
const DEMO_WAIT_SECS = 30;

export async function runUp(settings: SettingsOf<'up'>, context: Context): Promise<number> {
  const stopped = stopSignal();
  const { terminal } = context;
  const log = openLog(context, { level: settings.logLevel, isQuiet: true });
  const controlMetrics = createMetrics();
  const metrics = withMetrics(createMetrics(), controlMetrics);
  const dataDir = resolve(settings.dataDir);
  const nodeDir = join(dataDir, 'node');
  const cacheDir = resolve(settings.cacheDir ?? join(dataDir, 'cache'));
  await using closing = new AsyncDisposableStack();
  closing.use(openHeapKeeper());
  const control = { settings: { ...settings, dataDir }, context, log, metrics: controlMetrics, closing };
  const plane = await openControlPlane(control);
  claim(nodeDir, 'node', closing);
  const engine = await openEngine({ settings, dataDir: nodeDir, cacheDir, context, log, closing });
  const nodeId = settings.nodeId ?? 'local';
  const joinToken = hasJoined(nodeDir) ? null : await makeJoinToken(openApi(plane, context), nodeId);
  const node = { nodeId, dataDir: nodeDir, cacheDir, cpUrl: plane.url, joinToken };
  const controlFetch = (request: Request): Promise<Response> => plane.control.handle(request);
  const edge = await openEdge({ settings, node, engine, controlFetch, context, log, metrics, closing });
  const edgeUrl = settings.edgeUrl ?? reachable(settings.listen, edge.port);
  plane.writeProfile(edgeUrl);
  terminal.note(`functions      ${edgeUrl}`);
  terminal.note(`control plane  ${plane.url}`);
  terminal.note(`metrics        ${reachable(settings.metricsListen, edge.metricsPort)}/metrics`);
  terminal.note(`data           ${dataDir}`);
  if (settings.demo) await deployDemo(openApi(plane, context), edgeUrl, context);
  else terminal.note(`next           edge deploy FILE.wasm --name hello --route /hello`);
  log.info('stopping', { signal: await stopped });
  return 0;
}

/** The API of the own control plane, with the admin token; neither its socket nor its public URL is used. */
function openApi(plane: ControlPlane, { clock, random }: Context): Api {
  return createApi({
    target: { url: plane.url, token: plane.adminToken(), edgeUrl: null },
    fetch(url, init) {
      const { pathname, search } = new URL(url);
      return plane.control.handle(new Request(`${plane.url}${pathname}${search}`, init));
    },
    clock,
    random: () => randomFraction(random),
    createKey: () => createId('up', clock.nowMs(), random),
  });
}

/** A token for this id alone, so that a node whose files were lost may join again at once. */
async function makeJoinToken(api: Api, nodeId: string): Promise<string> {
  return (await api.post('/nodes/join-tokens', { node_id: nodeId }, JoinTokenAnswer)).join_token;
}

async function deployDemo(api: Api, edgeUrl: string, { terminal, clock }: Context): Promise<void> {
  if ((await findFunction(api, DEMO.name, { project: null })) === null) {
    const bytes = new Uint8Array(await openAssets().hello.arrayBuffer());
    const nothing = {
      project: null,
      host: null,
      method: [],
      entrypoint: null,
      memoryPages: null,
      maxExecutionMs: null,
    };
    const rest = { isolation: null, env: null, version: null, selector: null, waitSecs: DEMO_WAIT_SECS };
    const settings = { ...nothing, ...rest, name: DEMO.name, route: DEMO.route };
    await deploy({ file: 'hello.wasm', bytes }, settings, { api, terminal, clock });
  }
  terminal.note(`next           curl ${edgeUrl}${DEMO.route}`);
}
