// `edge deploy`: plans, makes a version of a file, deploys it and waits until every matching node is ready.
import { basename } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import { FunctionCreated, VersionCreated } from '../../model/api.ts';
import { DeployAnswer, DeployPlan } from '../../model/deployment.ts';
import {
  type EdgeFunction,
  type Isolation,
  Upload,
  type Version,
  type VersionSettings,
} from '../../model/function.ts';
import { Route } from '../../model/route.ts';
import { describeTarget, targetKey } from '../../model/target/target.ts';
import type { Api } from '../api.ts';
import { CliFailure } from '../failure.ts';
import { findFunction, listAll, listVersions } from '../lookup.ts';
import type { Terminal } from '../terminal.ts';
import { upload } from '../upload.ts';
import { readyOf, waitForNodes } from './wait.ts';

/** What the command line gives; null (no method) leaves a setting as it is. */
export type DeploySettings = {
  project: string | null;
  name: string | null;
  route: string | null;
  host: string | null;
  method: readonly string[];
  entrypoint: string | null;
  memoryPages: number | null;
  maxExecutionMs: number | null;
  isolation: Isolation | null;
  env: Readonly<Record<string, string>> | null;
  version: string | null;
  selector: string | null;
  pop: readonly string[];
  everywhere: boolean;
  allowEmpty: boolean;
  waitSecs: number;
};

/** Nothing given, no wait. */
export const NO_DEPLOY_SETTINGS: DeploySettings = {
  project: null,
  name: null,
  route: null,
  host: null,
  method: [],
  entrypoint: null,
  memoryPages: null,
  maxExecutionMs: null,
  isolation: null,
  env: null,
  version: null,
  selector: null,
  pop: [],
  everywhere: false,
  allowEmpty: false,
  waitSecs: 0,
};

const NAMES_SHOWN_MAX = 5;

export type DeployTools = { api: Api; terminal: Terminal; clock: Clock };

/** The answer of `edge deploy`; printed as it is with --json. */
export type Deployed = {
  function_id: string;
  name: string;
  version: string;
  is_new_version: boolean;
  sha256: string;
  size_bytes: number;
  deployment_id: string;
  /** The targets that have the version now. */
  targets: { deployment_id: string; pop_selector: string | null; target_pop: string[] | null }[];
  /** Deployments of other targets that this one has ended. */
  ended: { deployment_id: string; version: string; target: string }[];
  state: DeployAnswer['state'];
  nodes: DeployAnswer['nodes'];
  /** The path of --route; null when it was not given. */
  path: string | null;
  /** The URL of `path`; null without one, or where the address of the edge is not known. */
  url: string | null;
};

/** `file` is the name of the module in messages. Safe to repeat: what exists already is not made again. */
export async function deploy(
  module: { file: string; bytes: Uint8Array },
  settings: DeploySettings,
  tools: DeployTools,
): Promise<Deployed> {
  const { api } = tools;
  const { bytes } = module;
  if (bytes.length > FUNCTION_BOUNDS.artifactBytesMax) {
    const mebibytes = FUNCTION_BOUNDS.artifactBytesMax / 1_048_576;
    throw new CliFailure('artifact_too_large', `${module.file} is larger than ${mebibytes} MiB.`);
  }
  const sha256 = new Bun.CryptoHasher('sha256').update(bytes).digest('hex');
  const name = settings.name ?? nameOf(module.file);
  const target = targetOf(settings);
  const chosen = await choose({ name, sha256 }, settings, api);
  const plan = await api.post('/deployments/plan', { ...planned(chosen), ...target }, DeployPlan);
  const { owner, version, isNew } = await publish({ name, bytes }, chosen, settings, tools);
  if (settings.route !== null) await ensureRoute(api, owner, settings.route, settings);
  const started = await api.post(`/functions/${owner.id}/deploy`, { version, ...target }, DeployAnswer);
  const progress = await waitForNodes({ ...tools, progress: started, waitMs: settings.waitSecs * 1_000 });
  return {
    function_id: owner.id,
    name,
    version,
    is_new_version: isNew,
    sha256,
    size_bytes: bytes.length,
    deployment_id: started.deployment.id,
    targets: started.deployments.map(({ id: deployment_id, pop_selector, target_pop }) => {
      return { deployment_id, pop_selector, target_pop };
    }),
    ended: endedBy(plan),
    state: progress.state,
    nodes: progress.nodes,
    path: settings.route,
    url: settings.route === null ? null : urlOf(api.edgeUrl, settings.host, settings.route),
  };
}

function listOf(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_SHOWN_MAX).join(', ');
  return names.length > NAMES_SHOWN_MAX ? `${shown} and ${names.length - NAMES_SHOWN_MAX} more` : shown;
}

function endedBy({ targets, ends }: DeployPlan): Deployed['ended'] {
  const kept = new Set(targets.map(targetKey));
  const others = ends.filter((one) => !kept.has(targetKey(one)));
  return others.map((one) => {
    return { deployment_id: one.id, version: one.version, target: describeTarget(one) };
  });
}

export function printDeployed(terminal: Terminal, deployed: Deployed): void {
  const remark = deployed.is_new_version ? '' : ' (unchanged)';
  terminal.print(`${deployed.name} ${deployed.version}${remark}`);
  terminal.print(`  id      ${deployed.function_id}`);
  terminal.print(`  sha256  ${deployed.sha256}`);
  terminal.print(`  target  ${deployed.targets.map(describeTarget).join('; ')}`);
  for (const { version, target } of deployed.ended) terminal.print(`  ended   ${version} on ${target}`);
  if (deployed.nodes.length > 0) terminal.print(`  nodes   ${readyOf(deployed.nodes)} ready`);
  if (deployed.path !== null) terminal.print(`  url     ${deployed.url ?? deployed.path}`);
  if (deployed.nodes.length === 0)
    terminal.note('edge: no node matches yet; the next one that does gets this version');
  const offline = deployed.nodes.filter((node) => node.node_status === 'offline').map((node) => node.node_id);
  if (offline.length > 0)
    terminal.note(`edge: offline, and gets the version when it is back: ${listOf(offline)}`);
}

/** What `edge deploy --plan` shows: the plan, and the version that would be deployed. */
export type PlannedDeploy = { name: string; is_new_version: boolean; plan: DeployPlan };

/** Asks for the plan of a deploy; changes nothing. */
export async function planDeploy(
  module: { file: string; bytes: Uint8Array },
  settings: DeploySettings,
  { api }: Pick<DeployTools, 'api'>,
): Promise<PlannedDeploy> {
  const sha256 = new Bun.CryptoHasher('sha256').update(module.bytes).digest('hex');
  const name = settings.name ?? nameOf(module.file);
  const chosen = await choose({ name, sha256 }, settings, api);
  const plan = await api.post('/deployments/plan', { ...planned(chosen), ...targetOf(settings) }, DeployPlan);
  return { name, is_new_version: chosen.kind !== 'existing', plan };
}

/** A version of the function that may be deployed as it is, that waits for its module, or none. */
type Chosen =
  | { kind: 'new_function'; owner: null; version: string | null }
  | { kind: 'new_version'; owner: EdgeFunction; version: string | null }
  | { kind: 'pending' | 'existing'; owner: EdgeFunction; version: string };

/** A pre-release is chosen only where its number is given. */
async function choose(
  module: { name: string; sha256: string },
  settings: DeploySettings,
  api: Api,
): Promise<Chosen> {
  const wanted = settingsOfVersion(settings);
  const owner = await findFunction(api, module.name, settings);
  if (owner === null) return { kind: 'new_function', owner, version: settings.version };
  const isMeant = ({ version }: Version): boolean =>
    settings.version === null ? !version.includes('-') : version === settings.version;
  const versions = (await listVersions(api, owner.id)).filter(isMeant);
  const latest = versions.find((one) => one.status === 'published');
  if (latest?.sha256 === module.sha256 && hasSettings(latest, wanted))
    return { kind: 'existing', owner, version: latest.version };
  const [highest] = versions;
  if (highest?.status === 'pending' && hasSettings(highest, wanted))
    return { kind: 'pending', owner, version: highest.version };
  return { kind: 'new_version', owner, version: settings.version };
}

function planned({ owner, version }: Chosen): { function_id?: string; version?: string } {
  return {
    ...(owner === null ? {} : { function_id: owner.id }),
    ...(version === null ? {} : { version }),
  };
}

/** Refuses more than one way to say where. */
function targetOf(settings: DeploySettings): {
  pop_selector?: string;
  target_pop?: string[];
  allow_empty?: boolean;
} {
  const { selector, pop, everywhere, allowEmpty } = settings;
  if (everywhere && (selector !== null || pop.length > 0)) {
    throw new CliFailure('usage', '--everywhere stands alone, without --pop and --selector');
  }
  const expression = everywhere ? 'true' : selector;
  return {
    ...(expression === null ? {} : { pop_selector: expression }),
    ...(pop.length === 0 ? {} : { target_pop: [...pop] }),
    ...(allowEmpty ? { allow_empty: true } : {}),
  };
}

/** Makes what was chosen exist, with an artifact. */
async function publish(
  module: { name: string; bytes: Uint8Array },
  chosen: Chosen,
  settings: DeploySettings,
  { api, terminal }: DeployTools,
): Promise<{ owner: EdgeFunction; version: string; isNew: boolean }> {
  const { name, bytes } = module;
  const { owner } = chosen;
  if (chosen.kind === 'existing') return { owner: chosen.owner, version: chosen.version, isNew: false };
  const version = settings.version === null ? {} : { version: settings.version };
  const request = { ...settingsOfVersion(settings), ...version };
  if (owner === null) {
    const project = settings.project === null ? {} : { owner_project_id: settings.project };
    const created = await api.post('/functions', { name, ...project, ...request }, FunctionCreated);
    await upload(terminal, bytes, (open) => api.put(created.upload_url, open));
    return { owner: created.function, version: created.version.version, isNew: true };
  }
  if (chosen.kind === 'pending') {
    const path = `/functions/${owner.id}/versions/${chosen.version}/upload-url`;
    const { upload_url: url } = await api.post(path, {}, Upload);
    await upload(terminal, bytes, (open) => api.put(url, open));
    return { owner, version: chosen.version, isNew: true };
  }
  const created = await api.post(`/functions/${owner.id}/versions`, request, VersionCreated);
  await upload(terminal, bytes, (open) => api.put(created.upload_url, open));
  return { owner, version: created.version.version, isNew: true };
}

/** Creates the route unless the function has it; replaces one whose methods differ from those given. */
async function ensureRoute(
  api: Api,
  owner: EdgeFunction,
  path: string,
  settings: DeploySettings,
): Promise<void> {
  const host = settings.host ?? '*';
  const routes = await listAll(api, '/routes', Route, { function_id: owner.id });
  const same = routes.find((one) => one.function_id === owner.id && one.host === host && one.path === path);
  const methods = [...settings.method].toSorted();
  const isCurrent =
    same !== undefined && (methods.length === 0 || same.methods.toSorted().join() === methods.join());
  if (isCurrent) return;
  await api.post('/routes', { function_id: owner.id, host, path, methods }, Route);
  if (same !== undefined) await api.delete(`/routes/${same.id}`);
}

function settingsOfVersion(settings: DeploySettings): Partial<VersionSettings> {
  const { entrypoint, memoryPages, maxExecutionMs, isolation, env } = settings;
  return {
    ...(entrypoint === null ? {} : { entrypoint }),
    ...(memoryPages === null ? {} : { memory_pages: memoryPages }),
    ...(maxExecutionMs === null ? {} : { max_execution_ms: maxExecutionMs }),
    ...(isolation === null ? {} : { isolation }),
    ...(env === null ? {} : { env: { ...env } }),
  };
}

/** Whether a version has every setting of `wanted`. */
function hasSettings(version: Version, wanted: Partial<VersionSettings>): boolean {
  const { env, ...others } = wanted;
  const { settings } = version;
  const isSame = Object.entries(others).every(
    ([key, value]) => settings[key as keyof VersionSettings] === value,
  );
  return isSame && (env === undefined || Bun.deepEquals(env, settings.env));
}

/** The name of a function made from a file: `My Module.wasm` gives `my-module`. */
function nameOf(file: string): string {
  const name = basename(file)
    .replace(/\.[^.]*$/, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .slice(0, FUNCTION_BOUNDS.nameLengthMax);
  if (/[a-z0-9]/.test(name)) return name;
  throw new CliFailure('name_missing', `The function needs a name: ${file} has no letter or digit in its.`, {
    hint: 'Give one with --name.',
  });
}

/** The URL of a route: its host, where it is exact, on the port of the edge. */
function urlOf(edgeUrl: string | null, host: string | null, path: string): string | null {
  if (edgeUrl === null) return null;
  const url = new URL(edgeUrl);
  if (host !== null && !host.startsWith('*')) url.hostname = host;
  return `${url.origin}${path}`;
}
