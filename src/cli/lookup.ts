// Finds what a person names: functions by name or id, and whole lists from their pages.
import type { Static, TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { pageOf } from '../model/api.ts';
import { EdgeFunction, Version } from '../model/function.ts';
import { Id } from '../model/names.ts';
import type { Api } from './api.ts';
import { CliFailure } from './failure.ts';

const PAGES_MAX = 100;

/** Every item of a list. `query` holds the parameters besides the cursor. */
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
    const answer: Static<typeof schema> = await api.get(
      parameters === '' ? path : `${path}?${parameters}`,
      schema,
    );
    items.push(...answer.items);
    cursor = answer.next_cursor;
    if (cursor === null) return items;
  }
  return items;
}

/** The function of this name or id; null when there is none. */
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
      hint: 'Say which with --project.',
    });
  }
  return named[0] ?? null;
}

/** As `findFunction`, but its absence ends the command. */
export async function needFunction(
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
