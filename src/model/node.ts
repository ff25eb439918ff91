// A node: one running edge as the control plane knows it.
import { type Static, Type } from '@sinclair/typebox';
import { Labels, NodeId, PopId } from './names.ts';

const NodeStatus = Type.Union([Type.Literal('online'), Type.Literal('degraded'), Type.Literal('offline')]);
type NodeStatus = Static<typeof NodeStatus>;

export const EdgeNode = Type.Object({
  id: NodeId,
  pop_id: PopId,
  /** From its join token or an operator: what selectors read. */
  labels: Labels,
  /** What the node says of itself; nothing reads them. */
  reported_labels: Labels,
  status: NodeStatus,
  edge_version: Type.String(),
  applied_revision: Type.Integer(),
  cpu_percent: Type.Number(),
  mem_bytes: Type.Integer(),
  joined_at: Type.String(),
  last_heartbeat_at: Type.Union([Type.String(), Type.Null()]),
});
export type EdgeNode = Static<typeof EdgeNode>;
