// The column builders of SQLite.
import { index, integer, primaryKey, real, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core';
import type { Kit } from '../schema.ts';

export const sqliteKit = {
  table: sqliteTable,
  text: () => text(),
  integer: () => integer({ mode: 'number' }),
  serial: () => integer({ mode: 'number' }).primaryKey({ autoIncrement: true }),
  real: () => real(),
  json: () => text({ mode: 'json' }),
  primaryKey,
  index,
  uniqueIndex,
} satisfies Record<keyof Kit, unknown> as unknown as Kit;
