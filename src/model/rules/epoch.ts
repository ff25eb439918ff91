// When a control plane begins a new epoch, and which nodes follow it there by themselves.
import type { Position } from '../epoch.ts';

/** `ended`: the last revision of each epoch that this database has left; -1 for those that it never was in. */
export type Epochs = { readonly current: string | null; readonly ended: ReadonlyMap<string, number> };

/** What the file beside the database says: the epoch, and the highest revision that was handed out in it. */
export type EpochMark = { epoch: string; revision: number };

/**
 * `first`: there was none. `restored`: nodes may have more than this database. `unmarked`: nothing says what
 * they have.
 */
export type NewEpoch = 'first' | 'restored' | 'unmarked';

/** Why a starting control plane begins a new epoch; null where it goes on with the current one. */
export function judgeStart(facts: {
  epochs: Epochs;
  revision: number;
  nodes: number;
  mark: EpochMark | null;
}): NewEpoch | null {
  const { epochs, revision, nodes, mark } = facts;
  const { current, ended } = epochs;
  if (current === null) return mark === null || nodes === 0 ? 'first' : 'restored';
  if (mark === null) return nodes === 0 ? null : 'unmarked';
  // The database commits an epoch before the mark names it.
  const reached = mark.epoch === current ? revision : (ended.get(mark.epoch) ?? -1);
  return reached < mark.revision ? 'restored' : null;
}

/**
 * Whether a node leaves `from` for the current epoch safely: it was never there. Answers of an epoch to which
 * a node comes back could be replayed to it.
 */
export function isFresh({ ended }: Epochs, from: string | null): boolean {
  return from === null || ended.has(from);
}

/** Up to where nodes of the epoch `from` follow to the current one without an operator; null for nowhere. */
export function succession({ ended }: Epochs, from: string | null): Position | null {
  const revision = from === null ? undefined : ended.get(from);
  return revision === undefined || revision < 0 ? null : { epoch: from, revision };
}
