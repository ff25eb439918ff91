// The commands about what is deployed where: status, deployments, rollback, undeploy, plans.
import {
  DeployAnswer,
  Deployment,
  DeploymentProgress,
  type NodeProgress,
  UndeployAnswer,
} from '../../model/deployment.ts';
import { EdgeFunction } from '../../model/function.ts';
import { describeTarget } from '../../model/target/target.ts';
import type { Api } from '../api.ts';
import { activeOf, printInterpreted } from './active.ts';
import type { PlannedDeploy } from './deploy.ts';
import { CliFailure } from '../failure.ts';
import { findFunction, listAll, requireFunction } from '../lookup.ts';
import type { ManageInput } from '../manage.ts';
import type { Terminal } from '../terminal.ts';
import { readyOf, waitForNodes } from './wait.ts';

/** More active deployments than this are listed without the state of their nodes, which is asked one by one. */
const STATES_SHOWN_MAX = 64;
/** Deployments that are over and that are shown after the active ones. */
const OVER_SHOWN_MAX = 10;
const NODES_SHOWN_MAX = 50;

export async function showStatus(input: ManageInput): Promise<void> {
  const { api, terminal } = input;
  const owner = await requireFunction(api, input.name, input);
  const shown: DeploymentProgress[] = [];
  for (const { id } of await activeOf(api, owner.id))
    shown.push(await api.get(`/deployments/${id}`, DeploymentProgress));
  const [newest] = shown;
  const nodes = shown.flatMap((one) => one.nodes);
  if (input.json) {
    const complete = shown.length > 0 && shown.every((one) => one.complete || one.nodes.length === 0);
    const deployment = newest?.deployment ?? null;
    return terminal.printJson({ function: owner, deployment, deployments: shown, nodes, complete });
  }
  if (newest === undefined) {
    const latest = owner.latest_version ?? 'none';
    return terminal.print(`${owner.name} is not deployed (latest version: ${latest})`);
  }
  for (const one of shown) terminal.print(`${owner.name} ${lineOf(one)}`);
  const rows = shown.flatMap(({ deployment: { version }, nodes: held }) =>
    held.map((one) => rowOf(one, version)),
  );
  terminal.printTable([['NODE', 'POP', 'STATUS', 'VERSION', 'STATE', 'ERROR'], ...rows]);
  printInterpreted(terminal, nodes);
}

/** `1.1.0 on pop nrt: done, 1 of 1 ready`. */
function lineOf({ deployment, state, reason, nodes, matched_nodes }: DeploymentProgress): string {
  const where = describeTarget(deployment);
  const ready = nodes.length === 0 ? 'no node' : `${readyOf(nodes)} ready`;
  const others = matched_nodes - nodes.length;
  const hidden = others === 0 ? '' : ` (a newer deployment decides on ${others} more)`;
  return `${deployment.version} on ${where}: ${state}, ${ready}${hidden}${reason === null ? '' : `: ${reason}`}`;
}

function rowOf({ node_id, pop_id, node_status, state, error }: NodeProgress, version: string): string[] {
  return [node_id, pop_id, node_status, version, state, error ?? ''];
}

/** `edge deployments [NAME]`, `edge deployments show ID`, `edge deployments end ID`. */
export async function manageDeployments(input: ManageInput): Promise<void> {
  const { name, version: id } = input;
  if (id === null) return name.startsWith('dep_') ? await showOne(input, name) : await list(input);
  if (name === 'show') return await showOne(input, id);
  if (name === 'end') return await endOne(input, id);
  const given = JSON.stringify(name.slice(0, 80));
  throw new CliFailure('usage', `expected show or end before an id, not ${given}`);
}

async function list({ api, terminal, json, name, project }: ManageInput): Promise<void> {
  const owner = name === '' ? null : await ownerOf(api, name, project);
  const all =
    owner === null
      ? await listAll(api, '/deployments', Deployment, { status: 'active' })
      : await listAll(api, `/functions/${owner.id}/deployments`, Deployment);
  const active = all.filter((one) => one.status === 'active');
  const over = all.filter((one) => one.status !== 'active').slice(0, OVER_SHOWN_MAX);
  const progress = new Map<string, DeploymentProgress>();
  if (active.length <= STATES_SHOWN_MAX)
    for (const { id } of active) progress.set(id, await api.get(`/deployments/${id}`, DeploymentProgress));
  const shown = [...active, ...over];
  if (json) return terminal.printJson(shown.map((one) => ({ ...progress.get(one.id), deployment: one })));
  if (shown.length === 0) return terminal.note('Nothing is deployed: edge deploy FILE.wasm');
  const functions = owner === null ? await listAll(api, '/functions', EdgeFunction) : [owner];
  const names = new Map(functions.map((one) => [one.id, one.name]));
  const rows = shown.map((one) => {
    const held = progress.get(one.id);
    return [
      one.id,
      names.get(one.function_id) ?? one.function_id,
      one.version,
      describeTarget(one),
      held === undefined || one.status !== 'active' ? '' : readyOf(held.nodes),
      one.status === 'active' ? (held?.state ?? 'active') : one.status,
      one.created_at,
    ];
  });
  terminal.printTable([['ID', 'FUNCTION', 'VERSION', 'TARGET', 'READY', 'STATE', 'CREATED'], ...rows]);
}

/** A function may be called `show` or `end`; where none is, an id was forgotten. */
async function ownerOf(api: Api, name: string, project: string | null): Promise<EdgeFunction> {
  if (name !== 'show' && name !== 'end') return await requireFunction(api, name, { project });
  const owner = await findFunction(api, name, { project });
  if (owner === null) throw new CliFailure('usage', `expected the id of a deployment after ${name}`);
  return owner;
}

async function showOne({ api, terminal, json }: ManageInput, id: string): Promise<void> {
  const progress = await api.get(`/deployments/${encodeURIComponent(id)}`, DeploymentProgress);
  if (json) return terminal.printJson(progress);
  const { deployment, nodes } = progress;
  const owner = await api.get(`/functions/${deployment.function_id}`, EdgeFunction);
  terminal.print(`${owner.name} ${lineOf(progress)}`);
  const facts = {
    status: deployment.status,
    previous: deployment.previous_version ?? 'none',
    ...(deployment.from === null ? {} : { 'rolled back from': deployment.from }),
    created: deployment.created_at,
  };
  for (const [name, value] of Object.entries(facts)) terminal.print(`  ${name.padEnd(16)}  ${value}`);
  const rows = nodes.map((one) => rowOf(one, deployment.version));
  if (rows.length > 0) terminal.printTable([['NODE', 'POP', 'STATUS', 'VERSION', 'STATE', 'ERROR'], ...rows]);
  printInterpreted(terminal, nodes);
}

async function endOne({ api, terminal, json }: ManageInput, id: string): Promise<void> {
  const ended = await api.post(`/deployments/${encodeURIComponent(id)}/end`, {}, Deployment);
  if (json) return terminal.printJson(ended);
  const owner = await api.get(`/functions/${ended.function_id}`, EdgeFunction);
  const left = await activeOf(api, owner.id);
  terminal.print(`${owner.name} ${ended.version} on ${describeTarget(ended)} is ${ended.status}`);
  for (const one of left) terminal.print(`  ${one.version} goes on, on ${describeTarget(one)}`);
  if (left.length === 0) terminal.print(`  ${owner.name} is on no node now`);
}

/** Says what it leaves, so that a repeated command, or one that comes late, changes nothing. */
export async function rollBack(input: ManageInput): Promise<void> {
  const { api, terminal } = input;
  const owner = await requireFunction(api, input.name, input);
  const body = {
    ...(input.version === null ? {} : { version: input.version }),
    ...(input.from === null ? {} : { from: input.from }),
    ...(input.selector === null ? {} : { pop_selector: input.selector }),
    ...(input.pop.length === 0 ? {} : { target_pop: [...input.pop] }),
  };
  const started = await api.post(`/functions/${owner.id}/rollback`, body, DeployAnswer);
  const progress = await waitForNodes({ ...input, progress: started, waitMs: input.waitSecs * 1_000 });
  if (input.json) return terminal.printJson({ function: owner, ...started, ...progress });
  const { deployments, changed } = started;
  for (const one of deployments) {
    const left = one.from === null ? '' : `, from ${one.from}`;
    const said = changed ? 'is back at' : 'is already back at';
    terminal.print(`${owner.name} ${said} ${one.version} on ${describeTarget(one)}${left}`);
  }
  terminal.print(`  ${readyOf(progress.nodes)} nodes ready`);
  if (!changed)
    terminal.note(`edge: nothing has changed; to go further back: edge rollback ${owner.name} VERSION`);
}

export async function undeploy(input: ManageInput): Promise<void> {
  const { api, terminal } = input;
  const owner = await requireFunction(api, input.name, input);
  const answer = await api.post(`/functions/${owner.id}/undeploy`, {}, UndeployAnswer);
  if (input.json) return terminal.printJson(answer);
  terminal.print(`${owner.name} is undeployed; its versions are kept`);
}

export function printPlan(terminal: Terminal, { name, is_new_version, plan }: PlannedDeploy): void {
  const { version, targets, ends, nodes, versions } = plan;
  const remark = is_new_version ? ' (not uploaded yet)' : '';
  terminal.print(`${name} ${version}${remark} on ${targets.map(describeTarget).join('; ')}`);
  const counts = versions.map((one) => [
    one.version,
    `${one.added.length}`,
    `${one.removed.length}`,
    `${one.unchanged.length}`,
  ]);
  terminal.printTable([['VERSION', 'NODES ADDED', 'REMOVED', 'UNCHANGED'], ...counts]);
  const moved = nodes.filter((one) => one.before !== one.after);
  const rows = moved.map((one) => [one.node_id, one.pop_id, one.before ?? 'none', one.after ?? 'none']);
  if (rows.length > 0)
    terminal.printTable([['NODE', 'POP', 'RUNS', 'WILL RUN'], ...rows.slice(0, NODES_SHOWN_MAX)]);
  if (rows.length > NODES_SHOWN_MAX) terminal.note(`edge: and ${rows.length - NODES_SHOWN_MAX} more nodes`);
  for (const one of ends) terminal.print(`ends ${one.version} on ${describeTarget(one)} (${one.id})`);
  terminal.note('edge: this is a plan; nothing has changed');
}
