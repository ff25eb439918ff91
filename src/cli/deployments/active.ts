// The active deployments of a function, and which of their nodes run a version in the interpreter.
import { Deployment, DeploymentProgress, type NodeProgress } from '../../model/deployment.ts';
import type { Api } from '../api.ts';
import { listAll } from '../lookup.ts';
import type { Terminal } from '../terminal.ts';

/** The deployments of a function that decide something, newest first. */
export async function activeOf(api: Api, functionId: string): Promise<Deployment[]> {
  return await listAll(api, `/functions/${functionId}/deployments`, Deployment, { status: 'active' });
}

/** The nodes that should run this version. */
export async function nodesThatRun(api: Api, functionId: string, version: string): Promise<NodeProgress[]> {
  const nodes: NodeProgress[] = [];
  for (const deployment of await activeOf(api, functionId)) {
    if (deployment.version !== version) continue;
    nodes.push(...(await api.get(`/deployments/${deployment.id}`, DeploymentProgress)).nodes);
  }
  return nodes;
}

/** Which nodes run a version in the interpreter, which is slower, and why. */
export function printInterpreted(terminal: Terminal, nodes: readonly NodeProgress[]): void {
  for (const { node_id, interpreted } of nodes) {
    if (interpreted !== null) terminal.print(`${node_id} runs it in the interpreter: ${interpreted}`);
  }
}
