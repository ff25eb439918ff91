// A node: one running edge as the control plane knows it.
import { type Static, Type } from '@sinclair/typebox';
import { Divergence } from './epoch.ts';
import { Labels, NodeId, PopId } from './names.ts';
import { WallReport } from './wall.ts';

const NodeStatus = Type.Union([Type.Literal('online'), Type.Literal('degraded'), Type.Literal('offline')]);
type NodeStatus = Static<typeof NodeStatus>;

/** One process of a node: an id that is new at each start, and the name of its host. */
export const NodeInstance = Type.Object(
  {
    id: Type.String({ pattern: '^[a-z]{1,8}_[0-9a-z]{26}$' }),
    host: Type.String({ pattern: '^[A-Za-z0-9._-]{1,255}$' }),
  },
  { additionalProperties: false },
);
export type NodeInstance = Static<typeof NodeInstance>;

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
  /** The wall around guests as the node reports it; null until it has tried it. */
  wall: Type.Union([WallReport, Type.Null()]),
  joined_at: Type.String(),
  last_heartbeat_at: Type.Union([Type.String(), Type.Null()]),
  /** The process that was heard last; several where they report as this node at the same time. */
  instances: Type.Array(NodeInstance),
  /** Set while the node refuses what it is sent and keeps what it has. */
  diverged: Type.Union([Divergence, Type.Null()]),
});
export type EdgeNode = Static<typeof EdgeNode>;
