// Waits until every node that matches a deployment has the version, and says how far they are.
import type { Clock } from '../base/clock.ts';
import { DeploymentProgress } from '../model/deployment.ts';
import type { Api } from './api.ts';
import { CliFailure } from './failure.ts';
import type { Terminal } from './terminal.ts';

const HOLD_MS = 1_000;

/**
 * Starts from the `progress` that the deployment began with. Returns the progress when it is complete, when
 * no matching node is there, or as it stands when `waitMs` is 0. Throws a CliFailure when a node
 * reports an error, when another deployment takes the place of this one, or when the time is over.
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
  let meter: ReturnType<Terminal['openMeter']> | null = null;
  try {
    for (;;) {
      if (waitMs === 0 || isDone(progress)) return progress;
      const leftMs = Math.floor(endMs - clock.monotonicMs());
      if (leftMs <= 0) throw late(progress);
      const { deployment, nodes } = progress;
      meter ??= terminal.openMeter({ total: nodes.length });
      const done = nodes.filter((node) => node.state === 'cached').length;
      meter.update(done, `${done} of ${nodes.length} nodes have ${deployment.version}`);
      const holdMs = Math.min(HOLD_MS, leftMs);
      progress = await api.get(`/deployments/${deployment.id}?wait_ms=${holdMs}`, DeploymentProgress);
    }
  } finally {
    meter?.close();
  }
}

function isDone({ deployment, nodes, complete }: DeploymentProgress): boolean {
  const failed = nodes.find((node) => node.state === 'error');
  if (failed !== undefined) {
    const message = `Node ${failed.node_id}: ${failed.error ?? 'it did not say why'}`;
    throw new CliFailure('deploy_failed', message, {
      hint: 'The nodes keep what they ran before and try again.',
    });
  }
  if (deployment.status !== 'active') {
    throw new CliFailure(
      'deploy_superseded',
      `This deployment is ${deployment.status}: another took its place.`,
    );
  }
  return complete || nodes.every((node) => node.node_status === 'offline');
}

function late({ nodes }: DeploymentProgress): CliFailure {
  const waiting = nodes.filter((node) => node.state !== 'cached' && node.node_status !== 'offline');
  const names = waiting.slice(0, 5).map((node) => `${node.node_id} is ${node.state}`);
  const more = waiting.length > names.length ? ` and ${waiting.length - names.length} more` : '';
  return new CliFailure('deploy_timeout', `Not every node has the version yet: ${names.join(', ')}${more}.`);
}
