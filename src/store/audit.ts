// The store's operations on the audit trail, which every change extends.
import { desc, lt } from 'drizzle-orm';
import type { AuditEntry } from '../model/api.ts';
import type { Database } from './database/database.ts';
import { isoTime, type Page, type PageRequest, pageOfRows } from './pages.ts';

export type AuditOperations = {
  /** Newest first; the cursor is an id. */
  list(page: PageRequest): Promise<Page<AuditEntry>>;
};

export function auditOperations(database: Database): AuditOperations {
  return {
    list: (page) =>
      database.read(async ({ db, tables: { audit } }) => {
        const rows = await db
          .select()
          .from(audit)
          .where(page.cursor === null ? undefined : lt(audit.id, Number(page.cursor)))
          .orderBy(desc(audit.id))
          .limit(page.limit + 1);
        const toEntry = ({ at_ms, ...row }: (typeof rows)[number]): AuditEntry => ({
          ...row,
          at: isoTime(at_ms),
        });
        return pageOfRows(rows, page.limit, (row) => String(row.id), toEntry);
      }),
  };
}
