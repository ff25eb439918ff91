// What the control plane says of itself: health, version, and the audit trail.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { AuditEntry, pageOf, ProductVersion } from '../../model/api.ts';
import type { Store } from '../../store/store.ts';
import { createResource, numberedPageRequest, pageAnswer, PageQuery } from './resource.ts';

const Health = Type.Object({ status: Type.Literal('ok') });

export function systemApi(options: {
  facts: Pick<Store['facts'], 'revision'>;
  audit: Store['audit'];
  productVersion: string;
}): AnyElysia {
  const { facts, audit, productVersion } = options;
  return createResource('')
    .get('/livez', () => ({ status: 'ok' as const }), { response: { 200: Health } })
    .get(
      '/readyz',
      async () => {
        await facts.revision();
        return { status: 'ok' as const };
      },
      { response: { 200: Health } },
    )
    .get('/version', () => ({ version: productVersion }), { response: { 200: ProductVersion } })
    .get('/api/v1/audit', async ({ query }) => pageAnswer(await audit.list(numberedPageRequest(query))), {
      query: PageQuery,
      response: { 200: pageOf(AuditEntry) },
    });
}
