// How the SQLite migrations are generated: `bunx drizzle-kit generate --config migrations/sqlite.config.ts`.
import { defineConfig } from 'drizzle-kit';

export default defineConfig({
  dialect: 'sqlite',
  schema: './src/store/sqlite/tables.ts',
  out: './migrations/sqlite',
});
