// What every resource of the API shares: its Elysia settings, pages, and the parts that handlers call.
import { Elysia } from 'elysia';
import { type Static, Type } from '@sinclair/typebox';
import type { Clock } from '../../base/clock.ts';
import type { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS, CONTROL_DEFAULTS } from '../../base/limits/control.ts';
import type { Page, PageRequest } from '../../store/pages.ts';
import type { Store } from '../../store/store.ts';
import type { RequestContexts } from '../http/request_context.ts';
import { badFields } from '../http/failures.ts';
import type { Auth } from '../auth/auth.ts';
import type { Sync } from '../sync/sync.ts';
import type { Publish } from '../publish/publish.ts';

/** Everything that handlers reach; they decide nothing that is not in one of these. */
export type ApiParts = {
  store: Store;
  contexts: RequestContexts;
  auth: Auth;
  publish: Publish;
  sync: Sync;
  clock: Clock;
  productVersion: string;
  newId: (prefix: string) => string;
};

/** Unknown fields are refused rather than dropped: `normalize` would drop them in silence. */
export function createResource<const Prefix extends string>(prefix: Prefix): Elysia<Prefix> {
  return new Elysia<Prefix>({ prefix, normalize: false });
}

export const FunctionParams = Type.Object({ id: Type.String() });
export const VersionParams = Type.Object({ id: Type.String(), version: Type.String() });

const WholeNumber = Type.String({ pattern: '^[0-9]{1,9}$' });

/** `limit` is cut to what a page may hold. */
export const pageQuery = {
  cursor: Type.Optional(Type.String({ maxLength: 512 })),
  limit: Type.Optional(WholeNumber),
};
export const PageQuery = Type.Object(pageQuery, { additionalProperties: false });

export const WaitQuery = Type.Object(
  { wait_ms: Type.Optional(WholeNumber) },
  { additionalProperties: false },
);

export function pageRequest(query: Static<typeof PageQuery>): PageRequest {
  const asked = Number(query.limit ?? CONTROL_DEFAULTS.pageSize);
  const limit = Math.min(Math.max(asked, 1), CONTROL_BOUNDS.pageSizeMax);
  return { limit, cursor: query.cursor === undefined ? null : decodeCursor(query.cursor) };
}

export function pageAnswer<Item>(page: Page<Item>): { items: Item[]; next_cursor: string | null } {
  const { items, next_key } = page;
  return { items, next_cursor: next_key === null ? null : Buffer.from(next_key).toString('base64url') };
}

/** A page whose cursor is a whole number. */
export function numberedPageRequest(query: Static<typeof PageQuery>): PageRequest {
  const page = pageRequest(query);
  if (page.cursor !== null && !/^[0-9]{1,15}$/.test(page.cursor)) throw badCursor();
  return page;
}

function badCursor(): CodedError {
  return badFields({ field: 'cursor', message: 'is not a cursor of this list' });
}

function decodeCursor(cursor: string): string {
  const key = Buffer.from(cursor, 'base64url');
  if (cursor === '' || key.toString('base64url') !== cursor) {
    throw badCursor();
  }
  return key.toString();
}
