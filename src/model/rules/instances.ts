// Which processes report under the identity of one node, and whether two of them do at the same time.

/** A process that has sent a heartbeat; `returns` counts how often it did after another process had. */
export type HeardInstance = { id: string; host: string; heardMs: number; returns: number };

/** Processes of one node that are remembered. */
const INSTANCES_MAX = 8;

/** A report that arrives late, after its process has ended, makes each of two return once. */
const RETURNS_MIN = 2;

/**
 * The processes of a node after one of them was heard, that one first. Forgets those that were silent for
 * `forgetMs`; `heard` becomes none where it says that it ends.
 */
export function hearInstance(
  known: readonly HeardInstance[],
  heard: { id: string; host: string; isEnding: boolean },
  { nowMs, forgetMs }: { nowMs: number; forgetMs: number },
): HeardInstance[] {
  const { id, host } = heard;
  const present = known.filter((one) => nowMs - one.heardMs < forgetMs);
  const others = present.filter((one) => one.id !== id);
  if (heard.isEnding) return others;
  const before = present.find((one) => one.id === id);
  const isReturn = before !== undefined && present[0] !== before;
  const returns = (before?.returns ?? 0) + (isReturn ? 1 : 0);
  return [{ id, host, heardMs: nowMs, returns }, ...others].slice(0, INSTANCES_MAX);
}

/**
 * The processes that take turns: two at least, or none. A restart is no rival, because the process before it
 * does not return.
 */
export function rivalsOf(known: readonly HeardInstance[]): HeardInstance[] {
  const rivals = known.filter((one) => one.returns >= RETURNS_MIN);
  return rivals.length < 2 ? [] : rivals;
}
