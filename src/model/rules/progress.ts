// What the states of nodes amount to: whether a deployment is done, waits, or has failed.
import type { DeploymentState, NodeProgress } from '../deployment.ts';

/** What the nodes of one deployment, or of several, amount to. */
export function summaryOf(nodes: readonly NodeProgress[]): {
  state: DeploymentState;
  reason: string | null;
  complete: boolean;
} {
  const present = nodes.filter((node) => node.node_status !== 'offline');
  const failed = present.find((node) => node.state === 'failed') ?? present.find(hasFailed);
  if (failed !== undefined) {
    const reason = `${failed.node_id}: ${failed.error ?? 'an error without a reason'}`;
    return { state: 'failed', reason, complete: false };
  }
  const complete = present.length > 0 && present.every((node) => node.state === 'cached');
  return { state: complete ? 'done' : 'waiting', reason: null, complete };
}

export function hasFailed({ state }: NodeProgress): boolean {
  return state === 'error' || state === 'failed';
}
