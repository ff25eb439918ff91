// Rows of nodes, and the nodes that they stand for.
import { eq } from 'drizzle-orm';
import { CodedError } from '../../base/errors.ts';
import type { EdgeNode } from '../../model/node.ts';
import type { Reading } from '../database/database.ts';
import { isoTime } from '../pages.ts';
import type { Tables } from '../schema.ts';

export type NodeRow = Tables['nodes']['$inferSelect'];

/** Refuses `node_not_found`. */
export async function findNode({ db, tables: { nodes } }: Reading, id: string): Promise<NodeRow> {
  const [row] = await db.select().from(nodes).where(eq(nodes.id, id));
  if (row === undefined) throw new CodedError('node_not_found');
  return row;
}

export function toNode(row: NodeRow): EdgeNode {
  const { id, pop_id, labels, reported_labels, status, edge_version, applied_revision, wall } = row;
  const { cpu_percent, mem_bytes } = row;
  return {
    id,
    pop_id,
    labels,
    reported_labels,
    status,
    edge_version,
    applied_revision,
    cpu_percent,
    mem_bytes,
    wall,
    joined_at: isoTime(row.joined_at_ms),
    last_heartbeat_at: row.last_heartbeat_at_ms === null ? null : isoTime(row.last_heartbeat_at_ms),
    instances: [],
    diverged: null,
  };
}
