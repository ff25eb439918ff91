// What the resources of the API share: settings, parameters, pages, and small responses.
import { Elysia, type ElysiaCustomStatusResponse, status } from 'elysia';
import { type Static, Type } from '@sinclair/typebox';
import type { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS, CONTROL_DEFAULTS } from '../../base/limits/control.ts';
import type { Page, PageRequest } from '../../store/pages.ts';
import { badFields } from '../http/failures.ts';

/** Refuses unknown fields: `normalize` would drop them silently. */
export function createResource<const Prefix extends string>(prefix: Prefix): Elysia<Prefix> {
  return new Elysia<Prefix>({ prefix, normalize: false });
}

export const FunctionParams = Type.Object({ id: Type.String() });
export const VersionParams = Type.Object({ id: Type.String(), version: Type.String() });

const WholeNumber = Type.String({ pattern: '^[0-9]{1,9}$' });

/** A `limit` above `CONTROL_BOUNDS.pageSizeMax` counts as that. */
export const pageQuery = {
  cursor: Type.Optional(Type.String({ maxLength: 512 })),
  limit: Type.Optional(WholeNumber),
};
export const PageQuery = Type.Object(pageQuery, { additionalProperties: false });

/** A `wait_ms` above `CONTROL_BOUNDS.deploymentWaitMsMax` counts as that. */
export const WaitQuery = Type.Object(
  { wait_ms: Type.Optional(WholeNumber) },
  { additionalProperties: false },
);

/** Refuses `validation_failed` for a cursor that no list gave. */
export function pageRequest(query: Static<typeof PageQuery>): PageRequest {
  const asked = Number(query.limit ?? CONTROL_DEFAULTS.pageSize);
  const limit = Math.min(Math.max(asked, 1), CONTROL_BOUNDS.pageSizeMax);
  return { limit, cursor: query.cursor === undefined ? null : decodeCursor(query.cursor) };
}

/** For lists whose cursors are whole numbers. */
export function numberedPageRequest(query: Static<typeof PageQuery>): PageRequest {
  const page = pageRequest(query);
  if (page.cursor !== null && !/^[0-9]{1,15}$/.test(page.cursor)) throw badCursor();
  return page;
}

export function pageAnswer<Item>(page: Page<Item>): { items: Item[]; next_cursor: string | null } {
  const { items, next_key } = page;
  return { items, next_cursor: next_key === null ? null : Buffer.from(next_key).toString('base64url') };
}

function decodeCursor(cursor: string): string {
  const key = Buffer.from(cursor, 'base64url');
  if (cursor === '' || key.toString('base64url') !== cursor) throw badCursor();
  return key.toString();
}

function badCursor(): CodedError {
  return badFields({ field: 'cursor', message: 'must be the next_cursor of this list' });
}

/** The reply without a body. */
export function noContent(): ElysiaCustomStatusResponse<204, undefined, 204> {
  return status(204, undefined);
}

/** Scheme, host and port by which the caller reached the control plane. */
export function originOf(request: Request): string {
  return new URL(request.url).origin;
}
