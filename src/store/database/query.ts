// Queries in the words that drizzle has for every dialect; each runs when it is awaited.
import type { Column, GetColumnData, InferInsertModel, InferSelectModel, SQL, Table } from 'drizzle-orm';

type Fields = Record<string, Column | Table | SQL>;
type Value<Field> = Field extends Column
  ? GetColumnData<Field>
  : Field extends Table
    ? InferSelectModel<Field>
    : Field extends SQL<infer Data>
      ? Data
      : never;
type Row<Given extends Fields> = { [Key in keyof Given]: Value<Given[Key]> };
type Changes<T extends Table> = { [Key in keyof InferInsertModel<T>]?: InferInsertModel<T>[Key] | SQL };

type Select<Found> = Promise<Found[]> & {
  innerJoin(table: Table, on: SQL | undefined): Select<Found>;
  where(condition: SQL | undefined): Select<Found>;
  orderBy(...order: (Column | SQL)[]): Select<Found>;
  limit(rows: number): Select<Found>;
  offset(rows: number): Select<Found>;
};

type Insert<T extends Table> = Promise<unknown> & {
  onConflictDoNothing(): Insert<T>;
  onConflictDoUpdate(change: { target: Column | Column[]; set: Changes<T> }): Insert<T>;
  returning(): Promise<InferSelectModel<T>[]>;
};

type Filter = { where(condition: SQL | undefined): Promise<unknown> };

/**
 * A query that is not awaited never runs; the type is a promise, so that the linter finds one. What only one
 * dialect has (`get`, `all`, `run`) is left out.
 */
export type Query = {
  /** A join names its fields. */
  select<Given extends Fields>(fields: Given): { from(table: Table): Select<Row<Given>> };
  select(): { from<T extends Table>(table: T): Select<InferSelectModel<T>> };
  insert<T extends Table>(table: T): { values(row: InferInsertModel<T>): Insert<T> };
  update<T extends Table>(table: T): { set(changes: Changes<T>): Filter };
  delete(table: Table): Filter;
};
