// `edge deploy`: a file becomes a version, the version a deployment, and every matching node has it.
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
import { uploading } from './upload.ts';
import { waitForNodes } from './wait.ts';

/** What was given on the command line; null: not given, so that it stays as it is. */
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

export type DeployTools = { api: Api; terminal: Terminal; clock: Clock };

/**
 * `path` and `url` are of the route that was asked for; `url` is null while the address of the edge is not
 * known.
 */
export type Deployed = {
  function_id: string;
  name: string;
  version: string;
  is_new_version: boolean;
  sha256: string;
  size_bytes: number;
  deployment_id: string;
  nodes: DeploymentProgress['nodes'];
  path: string | null;
  url: string | null;
};

/** `file` names the module in words; `bytes` are the module. Safe to repeat. */
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
  if (settings.route !== null) await keepRoute(api, owner, settings.route, settings);
  const selector = settings.selector === null ? {} : { pop_selector: settings.selector };
  const begun = await api.post(`/functions/${owner.id}/deploy`, { version, ...selector }, DeploymentProgress);
  const progress = await waitForNodes({ ...tools, progress: begun, waitMs: settings.waitSecs * 1_000 });
  return {
    function_id: owner.id,
    name,
    version,
    is_new_version: isNew,
    sha256,
    size_bytes: bytes.length,
    deployment_id: begun.deployment.id,
    nodes: progress.nodes,
    path: settings.route,
    url: settings.route === null ? null : urlOf(api.edgeUrl, settings.host, settings.route),
  };
}

export function printDeployed(terminal: Terminal, deployed: Deployed): void {
  const cached = deployed.nodes.filter((node) => node.state === 'cached').length;
  const remark = deployed.is_new_version ? '' : ' (this version was there already)';
  terminal.print(`${deployed.name} ${deployed.version}${remark}`);
  terminal.print(`  id      ${deployed.function_id}`);
  terminal.print(`  sha256  ${deployed.sha256}`);
  if (deployed.nodes.length > 0) terminal.print(`  nodes   ${cached} of ${deployed.nodes.length} have it`);
  if (deployed.path !== null) terminal.print(`  url     ${deployed.url ?? deployed.path}`);
  if (deployed.nodes.length === 0)
    terminal.note('edge: no node matches yet; it is deployed as soon as one does');
}

async function publish(
  module: { name: string; bytes: Uint8Array; sha256: string },
  settings: DeploySettings,
  tools: DeployTools,
): Promise<{ owner: EdgeFunction; version: string; isNew: boolean }> {
  const { api } = tools;
  const wanted = settingsOfVersion(settings);
  const asked = { ...wanted, ...(settings.version === null ? {} : { version: settings.version }) };
  const found = await findFunction(api, module.name, settings);
  if (found === null) {
    const project = settings.project === null ? {} : { owner_project_id: settings.project };
    const made = await api.post('/functions', { name: module.name, ...project, ...asked }, FunctionCreated);
    await uploading(tools, module.bytes, (open) => api.put(made.upload_url, open));
    return { owner: made.function, version: made.version.version, isNew: true };
  }
  const versions = await listVersions(api, found.id);
  const isAsked = (one: Version): boolean => settings.version === null || one.version === settings.version;
  const latest = versions.find((one) => one.status === 'published' && isAsked(one));
  if (latest?.sha256 === module.sha256 && isCovered(wanted, latest.settings)) {
    return { owner: found, version: latest.version, isNew: false };
  }
  const [highest] = versions;
  if (highest?.status === 'pending' && isAsked(highest) && isCovered(wanted, highest.settings)) {
    const path = `/functions/${found.id}/versions/${highest.version}/upload-url`;
    const { upload_url: url } = await api.post(path, {}, Upload);
    await uploading(tools, module.bytes, (open) => api.put(url, open));
    return { owner: found, version: highest.version, isNew: true };
  }
  const made = await api.post(`/functions/${found.id}/versions`, asked, VersionCreated);
  await uploading(tools, module.bytes, (open) => api.put(made.upload_url, open));
  return { owner: found, version: made.version.version, isNew: true };
}

/** Makes the route unless the function has it; a route with other methods than asked for is replaced. */
async function keepRoute(
  api: Api,
  owner: EdgeFunction,
  path: string,
  settings: DeploySettings,
): Promise<void> {
  const host = settings.host ?? '*';
  const routes = await listAll(api, '/routes', Route, { function_id: owner.id });
  const same = routes.find((one) => one.function_id === owner.id && one.host === host && one.path === path);
  const methods = [...settings.method].toSorted();
  const isKept =
    same !== undefined && (methods.length === 0 || same.methods.toSorted().join() === methods.join());
  if (isKept) return;
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

/** Whether a version has every setting that was asked for. */
function isCovered(wanted: Partial<VersionSettings>, held: VersionSettings): boolean {
  const { env, ...plain } = wanted;
  const isSame = Object.entries(plain).every(([key, value]) => held[key as keyof VersionSettings] === value);
  return isSame && (env === undefined || Bun.deepEquals(env, held.env));
}

/** `My Module.wasm` is named `my-module`. */
function nameOf(file: string): string {
  const name = basename(file)
    .replace(/\.[^.]*$/, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .slice(0, FUNCTION_BOUNDS.nameLengthMax);
  if (/[a-z0-9]/.test(name)) return name;
  throw new CliFailure('name_missing', `${file} gives no name for the function.`, {
    hint: 'Say one with --name.',
  });
}

/** A route for one host is called by that host, on the port of the edge. */
function urlOf(edgeUrl: string | null, host: string | null, path: string): string | null {
  if (edgeUrl === null) return null;
  const url = new URL(edgeUrl);
  if (host !== null && !host.startsWith('*')) url.hostname = host;
  return `${url.origin}${path}`;
}
