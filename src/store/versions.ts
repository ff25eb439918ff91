// Closed operations on versions and the artifacts that they refer to.
import { and, eq, inArray, type SQL } from 'drizzle-orm';
import * as semver from 'semver';
import { CodedError } from '../base/errors.ts';
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';
import type { Version, VersionSettings } from '../model/function.ts';
import type { ModuleReport } from '../model/wasm/report.ts';
import { isoTime, type Page, type PageRequest, pageOfRows } from './pages.ts';
import type { Change, Database, Query } from './database/database.ts';
import * as tables from './sqlite/tables.ts';

const { artifacts, deployments, functions, versions } = tables;

export type VersionKey = { function_id: string; version: string };
export type NewArtifact = { sha256: string; size_bytes: number; report: ModuleReport | null };

export type VersionOperations = {
  /**
   * `version` undefined: the next patch after the highest. Settings that are left out come from the highest
   * version. Refuses `function_not_found`, `version_exists`, `limit_reached`.
   */
  create(input: {
    function_id: string;
    version: string | undefined;
    settings: Partial<VersionSettings>;
    actor: string;
  }): Promise<Version>;
  /** Refuses `function_not_found`, `version_not_found`. */
  get(key: VersionKey): Promise<Version>;
  /** Highest first; the cursor is a version. Refuses `function_not_found`. */
  list(page: PageRequest & { function_id: string }): Promise<Page<Version>>;
  /** The pending version that was made last, or null. Refuses `function_not_found`. */
  newestPending(function_id: string): Promise<Version | null>;
  /** What the module check reported; refuses `version_not_published` before that. */
  report(key: VersionKey): Promise<ModuleReport>;
  /**
   * Gives a pending version its artifact; from then on it never changes. The same artifact again is no
   * change; another is refused with `version_exists`.
   */
  publish(
    input: VersionKey & NewArtifact & { actor: string },
  ): Promise<{ version: Version; changed: boolean }>;
  /**
   * Refuses `version_in_use` while deployed. Returns the digests of artifacts that nothing refers to any
   * more.
   */
  remove(input: VersionKey & { actor: string }): Promise<string[]>;
};

export function versionOperations(database: Database): VersionOperations {
  return {
    create: (input) => database.write((change) => create(change, input)),
    get: (key) => database.read((db) => toVersion(db, findVersion(db, key))),
    list: (page) => database.read((db) => list(db, page)),
    newestPending: (function_id) => database.read((db) => newestPending(db, function_id)),
    report: (key) =>
      database.read((db) => {
        const row = findVersion(db, key);
        if (row.report === null) throw new CodedError('version_not_published');
        return row.report;
      }),
    publish: (input) => database.write((change) => publish(change, input)),
    remove: (input) => database.write((change) => remove(change, input)),
  };
}

type VersionRow = typeof versions.$inferSelect;

/** Refuses `function_not_found`, `version_not_found`. */
export function findVersion(db: Query, key: VersionKey): VersionRow {
  const row = db.select().from(versions).where(isKey(key)).get();
  if (row !== undefined) return row;
  requireFunction(db, key.function_id);
  throw new CodedError('version_not_found');
}

/** The highest published version by semver precedence, or null. */
export function latestPublished(db: Query, function_id: string): string | null {
  const published = and(eq(versions.function_id, function_id), eq(versions.status, 'published'));
  const rows = db.select({ version: versions.version }).from(versions).where(published).all();
  return rows.map((row) => row.version).sort(semver.rcompare)[0] ?? null;
}

export function insertVersion(change: Change, input: VersionKey & { settings: VersionSettings }): Version {
  const row: VersionRow = {
    ...input,
    status: 'pending',
    sha256: null,
    report: null,
    created_at_ms: change.nowMs,
    published_at_ms: null,
  };
  change.tx.insert(versions).values(row).run();
  return toVersion(change.tx, row);
}

/** Drops the artifact rows among `digests` that no version refers to, and returns their digests. */
export function removeUnreferenced(tx: Query, digests: readonly (string | null)[]): string[] {
  const candidates = [...new Set(digests)].filter((digest) => digest !== null);
  const referenced = tx
    .select({ sha256: versions.sha256 })
    .from(versions)
    .where(inArray(versions.sha256, candidates))
    .all();
  const kept = new Set(referenced.map((row) => row.sha256));
  const gone = candidates.filter((digest) => !kept.has(digest));
  if (gone.length > 0) tx.delete(artifacts).where(inArray(artifacts.sha256, gone)).run();
  return gone;
}

function create(
  change: Change,
  input: {
    function_id: string;
    version: string | undefined;
    settings: Partial<VersionSettings>;
    actor: string;
  },
): Version {
  const { tx } = change;
  const { function_id, actor } = input;
  requireFunction(tx, function_id);
  const held = tx.select().from(versions).where(eq(versions.function_id, function_id)).all();
  if (held.length >= FUNCTION_BOUNDS.versionsPerFunctionMax) throw new CodedError('limit_reached');
  const highest = held.sort((a, b) => semver.rcompare(a.version, b.version))[0];
  if (highest === undefined) throw new CodedError('version_not_found');
  const version = input.version ?? semver.inc(highest.version, 'patch') ?? highest.version;
  if (held.some((row) => row.version === version)) throw new CodedError('version_exists');
  const settings = { ...highest.settings, ...input.settings };
  const made = insertVersion(change, { function_id, version, settings });
  change.record({ actor, action: 'version.create', target: function_id, detail: { version } });
  return made;
}

function publish(
  change: Change,
  input: VersionKey & NewArtifact & { actor: string },
): { version: Version; changed: boolean } {
  const { tx, nowMs } = change;
  const { function_id, version, sha256, size_bytes, report, actor } = input;
  const row = findVersion(tx, input);
  if (row.status === 'published') {
    if (row.sha256 !== sha256) throw new CodedError('version_exists');
    return { version: toVersion(tx, row), changed: false };
  }
  tx.insert(artifacts).values({ sha256, size_bytes, created_at_ms: nowMs }).onConflictDoNothing().run();
  const published = { ...row, status: 'published' as const, sha256, report, published_at_ms: nowMs };
  tx.update(versions).set(published).where(isKey(input)).run();
  change.record({
    actor,
    action: 'version.publish',
    target: function_id,
    detail: { version, sha256, size_bytes },
  });
  return { version: toVersion(tx, published), changed: true };
}

function remove(change: Change, input: VersionKey & { actor: string }): string[] {
  const { tx } = change;
  const row = findVersion(tx, input);
  const { function_id, version } = input;
  const active = and(eq(deployments.function_id, function_id), eq(deployments.status, 'active'));
  const held = tx
    .select()
    .from(deployments)
    .where(and(active, eq(deployments.version, version)))
    .get();
  if (held !== undefined) throw new CodedError('version_in_use', { details: { deployment_id: held.id } });
  tx.delete(versions).where(isKey(input)).run();
  change.record({ actor: input.actor, action: 'version.delete', target: function_id, detail: { version } });
  return removeUnreferenced(tx, [row.sha256]);
}

function list(db: Query, page: PageRequest & { function_id: string }): Page<Version> {
  requireFunction(db, page.function_id);
  const rows = db.select().from(versions).where(eq(versions.function_id, page.function_id)).all();
  const { cursor } = page;
  const after = rows
    .sort((a, b) => semver.rcompare(a.version, b.version))
    .filter((row) => cursor === null || semver.valid(cursor) === null || semver.lt(row.version, cursor));
  return pageOfRows(
    after.slice(0, page.limit + 1),
    page.limit,
    (row) => row.version,
    (row) => toVersion(db, row),
  );
}

function newestPending(db: Query, function_id: string): Version | null {
  requireFunction(db, function_id);
  const pending = and(eq(versions.function_id, function_id), eq(versions.status, 'pending'));
  const rows = db.select().from(versions).where(pending).all();
  rows.sort((a, b) => b.created_at_ms - a.created_at_ms || semver.rcompare(a.version, b.version));
  const newest = rows[0];
  return newest === undefined ? null : toVersion(db, newest);
}

function isKey(key: VersionKey): SQL | undefined {
  return and(eq(versions.function_id, key.function_id), eq(versions.version, key.version));
}

function requireFunction(db: Query, id: string): void {
  const row = db.select({ id: functions.id }).from(functions).where(eq(functions.id, id)).get();
  if (row === undefined) throw new CodedError('function_not_found');
}

function toVersion(db: Query, row: VersionRow): Version {
  const { function_id, version, status, settings, sha256 } = row;
  const artifact =
    sha256 === null ? undefined : db.select().from(artifacts).where(eq(artifacts.sha256, sha256)).get();
  return {
    function_id,
    version,
    status,
    settings,
    sha256,
    size_bytes: artifact?.size_bytes ?? null,
    created_at: isoTime(row.created_at_ms),
    published_at: row.published_at_ms === null ? null : isoTime(row.published_at_ms),
  };
}
