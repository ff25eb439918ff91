// How rows become results: times as ISO 8601 text, lists as pages.

/** `limit` is at least 1; `cursor` is the `next_key` of the page before, null for the first page. */
export type PageRequest = { limit: number; cursor: string | null };
/** `next_key` is null on the last page. */
export type Page<Item> = { items: Item[]; next_key: string | null };

export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** Takes up to `limit + 1` rows: one beyond the limit only shows that there is a next page. */
export function pageOfRows<Row, Item>(
  rows: readonly Row[],
  limit: number,
  keyOf: (row: Row) => string,
  toItem: (row: Row) => Item,
): Page<Item> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const next_key = rows.length > limit && last !== undefined ? keyOf(last) : null;
  return { items: shown.map(toItem), next_key };
}
