// `edge deploy`: makes a version of a file, deploys it and waits until every matching node is ready.
import { basename } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';
import { FunctionCreated, VersionCreated } from '../model/api.ts';
import { DeploymentProgress } from '../model/deployment.ts';
import {
  type EdgeFunction,
  type Isolation,
  Upload,
  type Version,
  type VersionSettings,
} from '../model/function.ts';
import { Route } from '../model/route.ts';
import type { Api } from './api.ts';
import { CliFailure } from './failure.ts';
import { findFunction, listAll, listVersions } from './lookup.ts';
import type { Terminal } from './terminal.ts';
import { upload } from './upload.ts';
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
  waitSecs: 0,
};

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
  nodes: DeploymentProgress['nodes'];
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
  const { owner, version, isNew } = await publish({ name, bytes, sha256 }, settings, tools);
  if (settings.route !== null) await ensureRoute(api, owner, settings.route, settings);
  const selector = settings.selector === null ? {} : { pop_selector: settings.selector };
  const started = await api.post(
    `/functions/${owner.id}/deploy`,
    { version, ...selector },
    DeploymentProgress,
  );
  const progress = await waitForNodes({ ...tools, progress: started, waitMs: settings.waitSecs * 1_000 });
  return {
    function_id: owner.id,
    name,
    version,
    is_new_version: isNew,
    sha256,
    size_bytes: bytes.length,
    deployment_id: started.deployment.id,
    nodes: progress.nodes,
    path: settings.route,
    url: settings.route === null ? null : urlOf(api.edgeUrl, settings.host, settings.route),
  };
}

export function printDeployed(terminal: Terminal, deployed: Deployed): void {
  const remark = deployed.is_new_version ? '' : ' (unchanged)';
  terminal.print(`${deployed.name} ${deployed.version}${remark}`);
  terminal.print(`  id      ${deployed.function_id}`);
  terminal.print(`  sha256  ${deployed.sha256}`);
  if (deployed.nodes.length > 0) terminal.print(`  nodes   ${readyOf(deployed.nodes)} ready`);
  if (deployed.path !== null) terminal.print(`  url     ${deployed.url ?? deployed.path}`);
  if (deployed.nodes.length === 0)
    terminal.note('edge: no node matches yet; the next one that does gets this version');
}

/** The version with these bytes and settings: an existing one where there is one, else a new one. */
async function publish(
  module: { name: string; bytes: Uint8Array; sha256: string },
  settings: DeploySettings,
  { api, terminal }: DeployTools,
): Promise<{ owner: EdgeFunction; version: string; isNew: boolean }> {
  const { bytes, name, sha256 } = module;
  const wanted = settingsOfVersion(settings);
  const request = { ...wanted, ...(settings.version === null ? {} : { version: settings.version }) };
  const owner = await findFunction(api, name, settings);
  if (owner === null) {
    const project = settings.project === null ? {} : { owner_project_id: settings.project };
    const created = await api.post('/functions', { name, ...project, ...request }, FunctionCreated);
    await upload(terminal, bytes, (open) => api.put(created.upload_url, open));
    return { owner: created.function, version: created.version.version, isNew: true };
  }
  const versions = await listVersions(api, owner.id);
  const hasNumber = (one: Version): boolean => settings.version === null || one.version === settings.version;
  const latest = versions.find((one) => one.status === 'published' && hasNumber(one));
  if (latest?.sha256 === sha256 && hasSettings(latest, wanted)) {
    return { owner, version: latest.version, isNew: false };
  }
  const [highest] = versions;
  if (highest?.status === 'pending' && hasNumber(highest) && hasSettings(highest, wanted)) {
    const path = `/functions/${owner.id}/versions/${highest.version}/upload-url`;
    const { upload_url: url } = await api.post(path, {}, Upload);
    await upload(terminal, bytes, (open) => api.put(url, open));
    return { owner, version: highest.version, isNew: true };
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
