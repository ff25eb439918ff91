// What the control plane says of itself: health, version, its API's description, and the audit trail.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { AuditEntry, pageOf, ProductVersion } from '../../model/api.ts';
import { type ApiParts, createResource, pageAnswer, PageQuery, numberedPageRequest } from './resource.ts';

const Health = Type.Object({ status: Type.Literal('ok') });

export function systemApi(parts: ApiParts): AnyElysia {
  const { store, productVersion } = parts;
  return createResource('')
    .get('/livez', () => ({ status: 'ok' as const }), { response: { 200: Health } })
    .get(
      '/readyz',
      async () => {
        await store.facts.revision();
        return { status: 'ok' as const };
      },
      { response: { 200: Health } },
    )
    .get('/version', () => ({ version: productVersion }), { response: { 200: ProductVersion } })
    .get(
      '/api/v1/audit',
      async ({ query }) => {
        return pageAnswer(await store.audit.list(numberedPageRequest(query)));
      },
      { query: PageQuery, response: { 200: pageOf(AuditEntry) } },
    );
}
