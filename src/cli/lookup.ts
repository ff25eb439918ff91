// Finds functions by name or id, and reads whole lists page by page.
import type { Static, TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { CONTROL_BOUNDS } from '../base/limits/control.ts';
import { pageOf } from '../model/api.ts';
import { EdgeFunction, Version } from '../model/function.ts';
import { Id } from '../model/names.ts';
import type { Api } from './api.ts';
import { CliFailure } from './failure.ts';

/** Pages of one list, each of the largest size. */
const PAGES_MAX = 1_000;

/**
 * All items of a list; throws a CliFailure where they fill more than `PAGES_MAX` pages. `query` holds the
 * parameters besides the cursor and the page size.
 */
export async function listAll<S extends TSchema>(
  api: Api,
  path: string,
  item: S,
  query: Readonly<Record<string, string>> = {},
): Promise<Static<S>[]> {
  const schema = pageOf(item);
  const items: Static<S>[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const limit = String(CONTROL_BOUNDS.pageSizeMax);
    const parameters = new URLSearchParams({ ...query, limit, ...(cursor === null ? {} : { cursor }) });
    const answer: Static<typeof schema> = await api.get(`${path}?${parameters.toString()}`, schema);
    items.push(...answer.items);
    cursor = answer.next_cursor;
    if (cursor === null) return items;
  }
  const message = `The list of ${path.slice(1)} goes on after ${items.length} items, more than are read.`;
  throw new CliFailure('list_too_long', message, {
    hint: 'Read it from the API page by page: see /openapi.json of the control plane.',
  });
}

/** The function of this name or id; null when none has the name. Throws when several projects have it. */
export async function findFunction(
  api: Api,
  name: string,
  options: { project: string | null },
): Promise<EdgeFunction | null> {
  const isId: boolean = Value.Check(Id, name);
  if (isId) return api.get(`/functions/${name}`, EdgeFunction);
  const { project } = options;
  const found = await listAll(api, '/functions', EdgeFunction, {
    name,
    ...(project === null ? {} : { project }),
  });
  const named = found.filter((one) => one.name === name);
  if (named.length > 1) {
    const projects = named.map((one) => one.project_id).join(', ');
    throw new CliFailure('function_ambiguous', `Several projects have a function ${name}: ${projects}.`, {
      hint: 'Name one of them with --project.',
    });
  }
  return named[0] ?? null;
}

/** As `findFunction`, but throws a CliFailure when there is none. */
export async function requireFunction(
  api: Api,
  name: string,
  options: { project: string | null },
): Promise<EdgeFunction> {
  const found = await findFunction(api, name, options);
  if (found === null) throw new CliFailure('function_not_found', `There is no function ${name}.`);
  return found;
}

/** Highest version first. */
export function listVersions(api: Api, functionId: string): Promise<Version[]> {
  return listAll(api, `/functions/${functionId}/versions`, Version);
}
