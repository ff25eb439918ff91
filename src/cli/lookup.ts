// Finds functions by name or id, and reads whole lists page by page.
import type { Static, TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { pageOf } from '../model/api.ts';
import { EdgeFunction, Version } from '../model/function.ts';
import { Id } from '../model/names.ts';
import type { Api } from './api.ts';
import { CliFailure } from './failure.ts';

const PAGES_MAX = 100;

/** The items of at most `PAGES_MAX` pages. `query` holds the parameters besides the cursor. */
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
    const parameters = new URLSearchParams({ ...query, ...(cursor === null ? {} : { cursor }) }).toString();
    const target: string = parameters === '' ? path : `${path}?${parameters}`;
    const answer: Static<typeof schema> = await api.get(target, schema);
    items.push(...answer.items);
    cursor = answer.next_cursor;
    if (cursor === null) return items;
  }
  return items;
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
