// Closed operations on the audit trail.
import { desc, lt } from 'drizzle-orm';
import type { AuditEntry } from '../model/api.ts';
import { isoTime, type Page, type PageRequest, pageOfRows } from './pages.ts';
import type { Database } from './database/database.ts';
import * as tables from './sqlite/tables.ts';

const { audit } = tables;

export type AuditOperations = {
  /** Newest first; the cursor is an id. */
  list(page: PageRequest): Promise<Page<AuditEntry>>;
};

export function auditOperations(database: Database): AuditOperations {
  return {
    list: (page) =>
      database.read((db) => {
        const before = page.cursor === null ? undefined : lt(audit.id, Number(page.cursor));
        const rows = db
          .select()
          .from(audit)
          .where(before)
          .orderBy(desc(audit.id))
          .limit(page.limit + 1)
          .all();
        const toEntry = ({ at_ms, ...row }: (typeof rows)[number]): AuditEntry => ({
          ...row,
          at: isoTime(at_ms),
        });
        return pageOfRows(rows, page.limit, (row) => String(row.id), toEntry);
      }),
  };
}
