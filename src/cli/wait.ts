// Waits until every matching node of a deployment is ready, and shows the progress.
import type { Clock } from '../base/clock.ts';
import { DeploymentProgress } from '../model/deployment.ts';
import type { Api } from './api.ts';
import { CliFailure } from './failure.ts';
import type { Meter, Terminal } from './terminal.ts';

/** How long the control plane may hold one request. */
const HOLD_MS = 1_000;

/**
 * Starts from the `progress` that the deployment began with. Returns the progress once it is complete or no
 * matching node is reachable, and at once when `waitMs` is 0. Throws a CliFailure when a node reports an
 * error, when another deployment replaces this one, or after `waitMs`.
 */
export async function waitForNodes(options: {
  api: Api;
  terminal: Terminal;
  clock: Clock;
  progress: DeploymentProgress;
  waitMs: number;
}): Promise<DeploymentProgress> {
  const { api, terminal, clock, waitMs } = options;
  let { progress } = options;
  const endMs = clock.monotonicMs() + waitMs;
  let meter: Meter | null = null;
  try {
    while (waitMs > 0) {
      const { deployment, nodes } = progress;
      requireNoFailure(progress);
      if (isDone(progress)) break;
      const leftMs = Math.floor(endMs - clock.monotonicMs());
      if (leftMs <= 0) throw timeout(progress);
      meter ??= terminal.openMeter({ total: nodes.length });
      meter.update(readyCount(nodes), `${readyOf(nodes)} nodes ready with ${deployment.version}`);
      const holdMs = Math.min(HOLD_MS, leftMs);
      progress = await api.get(`/deployments/${deployment.id}?wait_ms=${holdMs}`, DeploymentProgress);
    }
    return progress;
  } finally {
    meter?.close();
  }
}

type Nodes = DeploymentProgress['nodes'];

/** The nodes that are ready, as in `2 of 3`. */
export function readyOf(nodes: Nodes): string {
  return `${readyCount(nodes)} of ${nodes.length}`;
}

function readyCount(nodes: Nodes): number {
  return nodes.filter((node) => node.state === 'cached').length;
}

function requireNoFailure({ deployment, nodes }: DeploymentProgress): void {
  const failed = nodes.find((node) => node.state === 'error');
  if (failed !== undefined) {
    const message = `Node ${failed.node_id}: ${failed.error ?? 'an error without a reason'}`;
    throw new CliFailure('deploy_failed', message);
  }
  if (deployment.status !== 'active') {
    const message = `This deployment is ${deployment.status}: a later command ended it.`;
    throw new CliFailure('deploy_superseded', message);
  }
}

function isDone({ nodes, complete }: DeploymentProgress): boolean {
  return complete || nodes.every((node) => node.node_status === 'offline');
}

function timeout({ nodes }: DeploymentProgress): CliFailure {
  const waiting = nodes.filter((node) => node.state !== 'cached' && node.node_status !== 'offline');
  const names = waiting.slice(0, 5).map((node) => `${node.node_id} is ${node.state}`);
  const more = waiting.length > names.length ? ` and ${waiting.length - names.length} more` : '';
  return new CliFailure('deploy_timeout', `Not every node is ready yet: ${names.join(', ')}${more}.`);
}
