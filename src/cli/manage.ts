// The commands that show and change functions and nodes; each makes one or a few calls of the API.
import { Type } from '@sinclair/typebox';
import type { Clock } from '../base/clock.ts';
import { JoinTokenAnswer } from '../model/api.ts';
import { Deployment, DeploymentProgress, type NodeProgress } from '../model/deployment.ts';
import { EdgeFunction, Version } from '../model/function.ts';
import { EdgeNode } from '../model/node.ts';
import { Route } from '../model/route.ts';
import type { Api } from './api.ts';
import { CliFailure } from './failure.ts';
import { listAll, listVersions, requireFunction } from './lookup.ts';
import type { Terminal } from './terminal.ts';
import { readyOf, waitForNodes } from './wait.ts';
import { wallWord } from './wall.ts';

export type ManageInput = {
  api: Api;
  terminal: Terminal;
  clock: Clock;
  /** Print one JSON value instead of text. */
  json: boolean;
  project: string | null;
  /** The first word after the command; empty where there is none. */
  name: string;
  /** The second word after the command. */
  version: string | null;
  waitSecs: number;
};

export async function showFunctions({ api, terminal, json, project }: ManageInput): Promise<void> {
  const functions = await listAll(api, '/functions', EdgeFunction, project === null ? {} : { project });
  if (json) return terminal.printJson(functions);
  if (functions.length === 0)
    return terminal.note('There is no function yet: edge deploy FILE.wasm --route /path');
  const rows = functions.map((one) => [one.name, one.latest_version ?? 'none', one.project_id, one.id]);
  terminal.printTable([['NAME', 'LATEST', 'PROJECT', 'ID'], ...rows]);
}

export async function showVersions(input: ManageInput): Promise<void> {
  const { api, terminal } = input;
  const owner = await requireFunction(api, input.name, input);
  const versions = await listVersions(api, owner.id);
  if (input.json) return terminal.printJson(versions);
  const rows = versions.map((one) => [
    one.version,
    one.status,
    one.size_bytes === null ? '' : `${one.size_bytes}`,
    one.sha256?.slice(0, 12) ?? '',
    one.created_at,
  ]);
  terminal.printTable([['VERSION', 'STATUS', 'BYTES', 'SHA256', 'CREATED'], ...rows]);
}

/** Shows what the module check reported, for a version that has an artifact. */
export async function inspect(input: ManageInput): Promise<void> {
  const { api, terminal } = input;
  const owner = await requireFunction(api, input.name, input);
  const number = input.version ?? owner.latest_version;
  if (number === null) {
    throw new CliFailure('version_not_published', `${owner.name} has no published version yet.`, {
      hint: 'Run `edge deploy` again to upload its module.',
    });
  }
  const path = `/functions/${owner.id}/versions/${encodeURIComponent(number)}`;
  const version = await api.get(path, Version);
  const report = version.status === 'published' ? await api.get(`${path}/inspect`, Type.Unknown()) : null;
  if (input.json) return terminal.printJson({ function: owner, version, report });
  terminal.print(`${owner.name} ${version.version} (${version.status})`);
  const facts = { sha256: version.sha256, size_bytes: version.size_bytes, ...version.settings, report };
  for (const [name, value] of Object.entries(facts)) {
    if (value === null) continue;
    terminal.print(`  ${name.padEnd(17)} ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  }
  printInterpreted(terminal, await nodesThatRun(api, owner.id, version.version));
}

/** Where the version is deployed: each node that should run it. */
async function nodesThatRun(api: Api, functionId: string, version: string): Promise<NodeProgress[]> {
  const active = await activeDeployment(api, functionId);
  if (active?.version !== version) return [];
  return (await api.get(`/deployments/${active.id}`, DeploymentProgress)).nodes;
}

async function activeDeployment(api: Api, functionId: string): Promise<Deployment | undefined> {
  const deployments = await listAll(api, `/functions/${functionId}/deployments`, Deployment);
  return deployments.find((one) => one.status === 'active');
}

export async function showRoutes(input: ManageInput): Promise<void> {
  const { api, terminal, project } = input;
  const owner = input.name === '' ? null : await requireFunction(api, input.name, input);
  const all = await listAll(api, '/routes', Route, owner === null ? {} : { function_id: owner.id });
  const routes = all.filter((one) => project === null || one.project_id === project);
  if (input.json) return terminal.printJson(routes);
  const functions = await listAll(api, '/functions', EdgeFunction);
  const names = new Map(functions.map((one) => [one.id, one.name]));
  const rows = routes.map((one) => [
    one.methods.length === 0 ? 'any' : one.methods.join(','),
    one.host,
    one.path,
    names.get(one.function_id) ?? one.function_id,
    `${one.priority}`,
  ]);
  terminal.printTable([['METHODS', 'HOST', 'PATH', 'FUNCTION', 'PRIORITY'], ...rows]);
}

export async function showNodes({ api, terminal, json }: ManageInput): Promise<void> {
  const nodes = await listAll(api, '/nodes', EdgeNode);
  if (json) return terminal.printJson(nodes);
  if (nodes.length === 0)
    return terminal.note('There is no node yet: `edge join-token` creates the token with which one joins');
  const rows = nodes.map((one) => [
    one.id,
    one.pop_id,
    one.instances.length > 1 ? `${one.status}, ${one.instances.length} processes` : one.status,
    Object.entries(one.labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(','),
    wallWord(one.wall),
    one.edge_version,
    one.last_heartbeat_at ?? 'never',
  ]);
  terminal.printTable([['ID', 'POP', 'STATUS', 'LABELS', 'WALL', 'VERSION', 'LAST HEARTBEAT'], ...rows]);
  for (const { id, instances } of nodes) {
    if (instances.length < 2) continue;
    const where = instances.map(({ host, id: process }) => `${host} (${process})`).join(' and ');
    terminal.note(`edge: ${instances.length} processes report as node ${id}, on ${where}: stop all but one,`);
    terminal.note('  and let the others join with a --node-id and a --data-dir of their own');
  }
}

/** Prints the token alone on stdout, so that a shell can read it. */
export async function makeJoinToken({ api, terminal, json }: ManageInput): Promise<void> {
  const answer = await api.post('/nodes/join-tokens', {}, JoinTokenAnswer);
  if (json) return terminal.printJson(answer);
  terminal.print(answer.join_token);
  terminal.note(`One edge may join with this token until ${answer.expires_at}.`);
}

export async function showStatus(input: ManageInput): Promise<void> {
  const { api, terminal } = input;
  const owner = await requireFunction(api, input.name, input);
  const active = await activeDeployment(api, owner.id);
  if (active === undefined) {
    if (input.json)
      return terminal.printJson({ function: owner, deployment: null, nodes: [], complete: false });
    const latest = owner.latest_version ?? 'none';
    return terminal.print(`${owner.name} is not deployed (latest version: ${latest})`);
  }
  const progress = await api.get(`/deployments/${active.id}`, DeploymentProgress);
  if (input.json) return terminal.printJson({ function: owner, ...progress });
  const { deployment, nodes } = progress;
  const where = deployment.pop_selector ?? deployment.target_pop?.join(', ') ?? 'every node';
  terminal.print(`${owner.name} ${deployment.version} on ${where}`);
  const rows = nodes.map((one) => [one.node_id, one.pop_id, one.node_status, one.state, one.error ?? '']);
  terminal.printTable([['NODE', 'POP', 'STATUS', 'STATE', 'ERROR'], ...rows]);
  printInterpreted(terminal, nodes);
}

/** Which nodes run a version in the interpreter, which is slower, and why. */
function printInterpreted(terminal: Terminal, nodes: readonly NodeProgress[]): void {
  for (const { node_id, interpreted } of nodes) {
    if (interpreted !== null) terminal.print(`${node_id} runs it in the interpreter: ${interpreted}`);
  }
}

export async function rollBack(input: ManageInput): Promise<void> {
  const { api, terminal } = input;
  const owner = await requireFunction(api, input.name, input);
  const body = input.version === null ? {} : { version: input.version };
  const started = await api.post(`/functions/${owner.id}/rollback`, body, DeploymentProgress);
  const progress = await waitForNodes({ ...input, progress: started, waitMs: input.waitSecs * 1_000 });
  if (input.json) return terminal.printJson({ function: owner, ...progress });
  const { deployment, nodes } = progress;
  terminal.print(`${owner.name} is back at ${deployment.version}: ${readyOf(nodes)} nodes ready`);
}

export async function undeploy(input: ManageInput): Promise<void> {
  const { api, terminal } = input;
  const owner = await requireFunction(api, input.name, input);
  const answer = await api.post(`/functions/${owner.id}/undeploy`, {}, Type.Unknown());
  if (input.json) return terminal.printJson(answer);
  terminal.print(`${owner.name} is undeployed; its versions are kept`);
}

export async function deleteFunction(input: ManageInput): Promise<void> {
  const { api, terminal } = input;
  const owner = await requireFunction(api, input.name, input);
  await api.delete(`/functions/${owner.id}`);
  if (input.json) return terminal.printJson({ function: owner, deleted: true });
  terminal.print(`${owner.name} is deleted`);
}
