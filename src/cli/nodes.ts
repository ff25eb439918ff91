// The commands that show nodes, label and rebase them, and make the tokens with which they join.
import { endsWithRebase, REFUSALS } from '../model/epoch.ts';
import { JoinTokenAnswer } from '../model/api.ts';
import { type LabelChanges, type Labels, labelValue } from '../model/names.ts';
import { EdgeNode } from '../model/node.ts';
import { CliFailure } from './failure.ts';
import { listAll } from './lookup.ts';
import type { ManageInput } from './manage.ts';
import { wallWord } from './wall.ts';

/** Nodes that are named for labels that they report and that select nothing. */
const REMARKS_MAX = 5;
const NAMES_SHOWN_MAX = 5;

export async function showNodes(input: ManageInput): Promise<void> {
  const { api, terminal, json } = input;
  const nodes = await listAll(api, '/nodes', EdgeNode);
  if (json) return terminal.printJson(nodes);
  if (nodes.length === 0)
    return terminal.note('There is no node yet: `edge join-token` creates the token with which one joins');
  const rows = nodes.map((one) => [
    one.id,
    one.pop_id,
    statusOf(one),
    textOf(one.labels),
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
  for (const node of nodes) noteDivergence(node, input);
  const remarks = nodes.map((one) => ({ id: one.id, names: surplusOf(one) }));
  for (const { id, names } of remarks.filter((one) => one.names.length > 0).slice(0, REMARKS_MAX)) {
    const shown = names.slice(0, NAMES_SHOWN_MAX).join(', ');
    terminal.note(`edge: what ${id} says of its ${shown} selects nothing: edge node label ${id} NAME=VALUE`);
  }
}

function statusOf({ status, instances, diverged }: EdgeNode): string {
  const words = status === 'offline' || diverged === null ? [status] : [status, 'diverged'];
  return [...words, ...(instances.length > 1 ? [`${instances.length} processes`] : [])].join(', ');
}

function noteDivergence({ id, status, diverged }: EdgeNode, { terminal }: ManageInput): void {
  if (diverged === null || status === 'offline') return;
  const { reason, since } = diverged;
  terminal.note(`edge: node ${id} keeps what it serves and takes nothing new since ${since}:`);
  terminal.note(`  ${REFUSALS[reason]} (${reason})`);
  if (endsWithRebase(reason))
    terminal.note(`  To give it the state of this control plane: edge node rebase ${id}`);
  else if (reason === 'signature_invalid')
    terminal.note(`  Start it again with --join-token "$(edge join-token --node ${id})"`);
}

/** Names of what a node says of itself beyond its labels. Its values are not for a shell. */
function surplusOf({ labels, reported_labels }: EdgeNode): string[] {
  return Object.entries(reported_labels).flatMap(([name, value]) => (labels[name] === value ? [] : [name]));
}

function textOf(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(',');
}

/** Prints the token alone on stdout, so that a shell can read it. */
export async function makeJoinToken(input: ManageInput): Promise<void> {
  const { api, terminal, json, label, pop, tokenNode } = input;
  const [tokenPop, ...others] = pop;
  if (others.length > 0) throw new CliFailure('usage', 'a join token is for one pop');
  const body = {
    ...(Object.keys(label).length === 0 ? {} : { labels: label }),
    ...(tokenPop === undefined ? {} : { pop_id: tokenPop }),
    ...(tokenNode === null ? {} : { node_id: tokenNode }),
  };
  const answer = await api.post('/nodes/join-tokens', body, JoinTokenAnswer);
  if (json) return terminal.printJson(answer);
  terminal.print(answer.join_token);
  terminal.note(`One edge may join with this token until ${answer.expires_at}.`);
}

export async function changeNode(input: ManageInput): Promise<void> {
  if (input.name === 'rebase') return await rebaseNode(input);
  return await labelNode(input);
}

/** `edge node rebase ID`. */
async function rebaseNode({ api, terminal, json, version: id, words }: ManageInput): Promise<void> {
  if (id === null || words.length > 0)
    throw new CliFailure('usage', 'expected `rebase` and the id of one node', {
      hint: 'Usage: edge node rebase ID. `edge nodes` shows which nodes have diverged.',
    });
  const node = await api.post(`/nodes/${encodeURIComponent(id)}/rebase`, {}, EdgeNode);
  if (json) return terminal.printJson(node);
  terminal.print(`${node.id} takes the state of this control plane with its next heartbeat`);
  terminal.note('`edge nodes` shows it without `diverged` once it has.');
}

/** `edge node label ID NAME=VALUE … NAME-`. Prints the labels that the node has then. */
async function labelNode(input: ManageInput): Promise<void> {
  const { api, terminal, name: action, version: id, words } = input;
  const usage = 'Usage: edge node label ID NAME=VALUE, or NAME- to remove a label; or edge node rebase ID.';
  if (action !== 'label' || id === null || words.length === 0)
    throw new CliFailure('usage', 'expected `label` or `rebase`, the id of a node, and labels', {
      hint: usage,
    });
  const labels = Object.fromEntries(words.flatMap((word) => word.split(',')).map(readChange));
  const node = await api.patch(`/nodes/${encodeURIComponent(id)}`, { labels }, EdgeNode);
  if (input.json) return terminal.printJson(node);
  const shown = textOf(node.labels);
  terminal.print(`${node.id} has ${shown === '' ? 'no labels' : shown}`);
}

/** Numbers and truth values keep their type, as in `--label`. */
function readChange(word: string): [name: string, value: LabelChanges[string]] {
  const at = word.indexOf('=');
  if (at < 1 && word.endsWith('-') && word.length > 1) return [word.slice(0, -1), null];
  if (at < 1) {
    const given = JSON.stringify(word.slice(0, 80));
    throw new CliFailure('usage', `expected NAME=VALUE, or NAME- to remove a label, not ${given}`);
  }
  return [word.slice(0, at), labelValue(word.slice(at + 1))];
}
