// The column builders of SQLite, under the names that `schema.ts` uses for every database.
import { sql } from 'drizzle-orm';
import {
  foreignKey,
  index,
  integer,
  primaryKey,
  real,
  sqliteTable,
  text,
  uniqueIndex,
} from 'drizzle-orm/sqlite-core';

const builders = {
  table: sqliteTable,
  text: () => text(),
  integer: () => integer({ mode: 'number' }),
  serial: () => integer({ mode: 'number' }).primaryKey({ autoIncrement: true }),
  real: () => real(),
  json: <T>() => text({ mode: 'json' }).$type<T>(),
  primaryKey,
  foreignKey,
  index,
  uniqueIndex,
  sql,
};

/** One kit per dialect; times are whole milliseconds since the epoch, `json` is text that holds JSON. */
export type Kit = typeof builders;

export const sqliteKit: Kit = builders;
