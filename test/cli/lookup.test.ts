// Lists of the API that have more than one page.
import { describe, expect, test } from 'bun:test';
import { Value } from '@sinclair/typebox/value';
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import type { Api } from '../../src/cli/api.ts';
import { listAll } from '../../src/cli/lookup.ts';

/** An API whose list has so many pages of one item; `asked` holds the paths. */
function createPages(pages: number): Api & { asked: string[] } {
  const asked: string[] = [];
  const refuse = (): Promise<never> => Promise.reject(new Error('only lists are read'));
  return {
    asked,
    edgeUrl: null,
    async get<S extends TSchema>(path: string, schema: S): Promise<Static<S>> {
      asked.push(path);
      const page = Number(new URL(path, 'http://cp').searchParams.get('cursor') ?? '0');
      return Value.Parse(schema, { items: [page], next_cursor: page + 1 < pages ? String(page + 1) : null });
    },
    post: refuse,
    patch: refuse,
    delete: refuse,
    put: refuse,
  };
}

describe('A list of many pages', () => {
  test('is read to its end, in pages as large as the API gives', async () => {
    const api = createPages(150);
    const items = await listAll(api, '/functions', Type.Number(), { name: 'a' });
    expect(items).toEqual(Array.from({ length: 150 }, (_, page) => page));
    expect(api.asked[1]).toBe('/functions?name=a&limit=200&cursor=1');
  });

  test('that does not end is a failure and no part of a list', async () => {
    const api = createPages(Number.POSITIVE_INFINITY);
    await expect(listAll(api, '/functions', Type.Number())).rejects.toMatchObject({
      code: 'list_too_long',
      message: 'The list of functions goes on after 1000 items, more than are read.',
    });
  });
});
