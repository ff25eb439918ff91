// Waits until every node of one or more deployments is ready, and shows the progress.
import type { Clock } from '../../base/clock.ts';
import {
  type DeployAnswer,
  type Deployment,
  DeploymentProgress,
  type NodeProgress,
} from '../../model/deployment.ts';
import { summaryOf } from '../../model/rules/progress.ts';
import type { Api } from '../api.ts';
import { CliFailure } from '../failure.ts';
import type { Meter, Terminal } from '../terminal.ts';

/** How long the control plane may hold one request. */
const HOLD_MS = 1_000;

/** How far the nodes of all deployments are. */
export type Waited = Pick<DeployAnswer, 'state' | 'nodes'>;

/**
 * Starts from the `progress` that the deploy began with. Returns once every node is ready, at once where no
 * node matches or `waitMs` is 0. Throws a CliFailure when a node reports an error, when another deployment
 * replaces one of these, when every matching node is offline, or after `waitMs`.
 */
export async function waitForNodes(options: {
  api: Api;
  terminal: Terminal;
  clock: Clock;
  progress: DeployAnswer;
  waitMs: number;
}): Promise<Waited> {
  const { api, terminal, clock, waitMs } = options;
  const { deployments } = options.progress;
  let progress: Waited = options.progress;
  const endMs = clock.monotonicMs() + waitMs;
  let meter: Meter | null = null;
  try {
    while (waitMs > 0) {
      const { nodes } = progress;
      requireNoFailure(nodes);
      if (progress.state === 'done' || nodes.length === 0) break;
      requireReachable(nodes);
      const leftMs = Math.floor(endMs - clock.monotonicMs());
      if (leftMs <= 0) throw timeout(nodes);
      meter ??= terminal.openMeter({ total: nodes.length });
      meter.update(readyCount(nodes), `${readyOf(nodes)} nodes ready with ${versionsOf(deployments)}`);
      progress = await poll(api, deployments, Math.min(HOLD_MS, leftMs));
    }
    return progress;
  } finally {
    meter?.close();
  }
}

/** The control plane holds the first request that is not settled; the others are asked for at once. */
async function poll(api: Api, deployments: readonly Deployment[], holdMs: number): Promise<Waited> {
  const nodes: NodeProgress[] = [];
  let wait = `?wait_ms=${holdMs}`;
  for (const { id } of deployments) {
    const one = await api.get(`/deployments/${id}${wait}`, DeploymentProgress);
    requireActive(one.deployment);
    if (one.state !== 'done') wait = '';
    nodes.push(...one.nodes);
  }
  return { nodes, state: summaryOf(nodes).state };
}

/** The nodes that are ready, as in `2 of 3`. */
export function readyOf(nodes: readonly NodeProgress[]): string {
  return `${readyCount(nodes)} of ${nodes.length}`;
}

function readyCount(nodes: readonly NodeProgress[]): number {
  return nodes.filter((node) => node.state === 'cached').length;
}

function versionsOf(deployments: readonly Deployment[]): string {
  return [...new Set(deployments.map((one) => one.version))].join(', ');
}

const NEVER_AGAIN =
  'The version fails in the same way each time, so the node does not try again and keeps what it had: deploy ' +
  'a mended one, or go back with `edge rollback NAME`.';

function requireNoFailure(nodes: readonly NodeProgress[]): void {
  const final = nodes.find((node) => node.state === 'failed');
  const failed = final ?? nodes.find((node) => node.state === 'error' && node.node_status !== 'offline');
  if (failed === undefined) return;
  const message = `Node ${failed.node_id}: ${failed.error ?? 'an error without a reason'}`;
  throw new CliFailure('deploy_failed', message, { hint: final === undefined ? null : NEVER_AGAIN });
}

function requireActive({ status }: Deployment): void {
  if (status === 'active') return;
  const message = `This deployment is ${status}: a later command ended it.`;
  throw new CliFailure('deploy_superseded', message);
}

function requireReachable(nodes: readonly NodeProgress[]): void {
  if (nodes.some((node) => node.node_status !== 'offline')) return;
  const names = nodes.slice(0, 5).map((node) => node.node_id);
  const message = `Every matching node is offline (${names.join(', ')}): each gets the version when it is back.`;
  throw new CliFailure('deploy_waiting', message);
}

function timeout(nodes: readonly NodeProgress[]): CliFailure {
  const waiting = nodes.filter((node) => node.state !== 'cached' && node.node_status !== 'offline');
  const names = waiting.slice(0, 5).map((node) => `${node.node_id} is ${node.state}`);
  const more = waiting.length > names.length ? ` and ${waiting.length - names.length} more` : '';
  return new CliFailure('deploy_timeout', `Not every node is ready yet: ${names.join(', ')}${more}.`);
}
