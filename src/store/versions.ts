// The store's operations on versions and on the artifacts that they refer to.
import { and, eq, inArray, type SQL } from 'drizzle-orm';
import * as semver from 'semver';
import { CodedError } from '../base/errors.ts';
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';
import { defaultVersionSettings, type Version, type VersionSettings } from '../model/function.ts';
import type { ModuleReport } from '../model/wasm/report.ts';
import type { Change, Database, Reading } from './database/database.ts';
import { isoTime, type Page, type PageRequest, pageOfRows } from './pages.ts';
import { isActive, type Tables } from './schema.ts';

/** The number of a function's first version. */
export const VERSION_FIRST = '1.0.0';

export type VersionKey = { function_id: string; version: string };
export type NewArtifact = { sha256: string; size_bytes: number; report: ModuleReport | null };

/** `new`: it does not exist yet. */
export type UpcomingVersion = VersionKey & { settings: VersionSettings; status: 'pending' | 'new' };

export type VersionOperations = {
  /**
   * Without `version`: the next patch after the highest. Settings that are left out come from the highest
   * version, and are the defaults where there is none. Pre-releases count only where there is nothing else. Refuses `function_not_found`, `version_exists`, `limit_reached`.
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
  /**
   * The version that an upload without a number publishes: the pending one that was created last, else the
   * one that `create` would make. Refuses `function_not_found`.
   */
  upcoming(function_id: string): Promise<UpcomingVersion>;
  /** What the module check reported. Refuses what `get` refuses, and `version_not_published`. */
  report(key: VersionKey): Promise<ModuleReport>;
  /**
   * Gives a pending version its artifact; from then on the version never changes. The same artifact again is
   * no change, another is refused with `version_exists`. Refuses what `get` refuses.
   */
  publish(
    input: VersionKey & NewArtifact & { actor: string },
  ): Promise<{ version: Version; changed: boolean }>;
  /**
   * Refuses what `get` refuses, and `version_in_use` while it is deployed. Returns the digests of the
   * artifacts that no version refers to after it.
   */
  remove(input: VersionKey & { actor: string }): Promise<string[]>;
};

export function versionOperations(database: Database): VersionOperations {
  return {
    create: (input) => database.write((change) => create(change, input)),
    get: (key) => database.read(async (reading) => versionOf(reading, await findVersion(reading, key))),
    list: (page) => database.read((reading) => list(reading, page)),
    upcoming: (function_id) => database.read((reading) => upcoming(reading, function_id)),
    report: (key) =>
      database.read(async (reading) => {
        const { report } = await findVersion(reading, key);
        if (report === null) throw new CodedError('version_not_published');
        return report;
      }),
    publish: (input) => database.write((change) => publish(change, input)),
    remove: (input) => database.write((change) => remove(change, input)),
  };
}

type VersionRow = Tables['versions']['$inferSelect'];

/** Refuses `function_not_found`. */
export async function requireFunction({ db, tables }: Reading, id: string): Promise<void> {
  const { functions } = tables;
  const [row] = await db.select({ id: functions.id }).from(functions).where(eq(functions.id, id));
  if (row === undefined) throw new CodedError('function_not_found');
}

/** Refuses `function_not_found`, `version_not_found`. */
export async function findVersion(reading: Reading, key: VersionKey): Promise<VersionRow> {
  const { db, tables } = reading;
  const [row] = await db.select().from(tables.versions).where(isKey(tables, key));
  if (row !== undefined) return row;
  await requireFunction(reading, key.function_id);
  throw new CodedError('version_not_found');
}

/** The highest published version of each function that has one, by semver precedence; no pre-release. */
export async function latestPublished(
  { db, tables: { versions } }: Reading,
  function_ids: readonly string[],
): Promise<Map<string, string>> {
  const rows = await db
    .select({ function_id: versions.function_id, version: versions.version })
    .from(versions)
    .where(and(inArray(versions.function_id, [...function_ids]), eq(versions.status, 'published')));
  const latest = new Map<string, string>();
  for (const { function_id, version } of rows) {
    if (semver.prerelease(version) === null)
      latest.set(function_id, higher(latest.get(function_id), version));
  }
  return latest;
}

export async function insertVersion(
  { db, tables, nowMs }: Change,
  input: VersionKey & { settings: VersionSettings },
): Promise<Version> {
  const row: VersionRow = {
    ...input,
    status: 'pending',
    sha256: null,
    report: null,
    created_at_ms: nowMs,
    published_at_ms: null,
  };
  await db.insert(tables.versions).values(row);
  return toVersion(row, null);
}

/** Deletes the rows of the artifacts among `digests` that no version refers to, and returns their digests. */
export async function removeUnreferenced(
  { db, tables: { artifacts, versions } }: Change,
  digests: readonly (string | null)[],
): Promise<string[]> {
  const candidates = [...new Set(digests)].filter((digest) => digest !== null);
  const referenced = await db
    .select({ sha256: versions.sha256 })
    .from(versions)
    .where(inArray(versions.sha256, candidates));
  const kept = new Set(referenced.map((row) => row.sha256));
  const unreferenced = candidates.filter((digest) => !kept.has(digest));
  if (unreferenced.length > 0) await db.delete(artifacts).where(inArray(artifacts.sha256, unreferenced));
  return unreferenced;
}

/** The number that the next version of a function gets. */
export async function nextVersion(reading: Reading, function_id: string): Promise<string> {
  const highest = highestOf(await versionsOf(reading, function_id));
  return highest === null ? VERSION_FIRST : after(highest);
}

/** Pre-releases count only where there is nothing else. */
function highestOf(versions: readonly string[]): string | null {
  const releases = versions.filter((version) => semver.prerelease(version) === null);
  const [first, ...others] = releases.length === 0 ? versions : releases;
  return first === undefined ? null : others.reduce(higher, first);
}

function after(version: string): string {
  return semver.inc(version, 'patch') ?? version;
}

async function create(
  change: Change,
  input: {
    function_id: string;
    version: string | undefined;
    settings: Partial<VersionSettings>;
    actor: string;
  },
): Promise<Version> {
  const { function_id, actor } = input;
  await requireFunction(change, function_id);
  const held = await versionsOf(change, function_id);
  if (held.length >= FUNCTION_BOUNDS.versionsPerFunctionMax) throw new CodedError('limit_reached');
  const next = await following(change, function_id, held);
  const version = input.version ?? next.version;
  if (held.includes(version)) throw new CodedError('version_exists');
  const settings = { ...next.settings, ...input.settings };
  const created = await insertVersion(change, { function_id, version, settings });
  await change.record({ actor, action: 'version.create', target: function_id, detail: { version } });
  return created;
}

async function publish(
  change: Change,
  input: VersionKey & NewArtifact & { actor: string },
): Promise<{ version: Version; changed: boolean }> {
  const { db, tables, nowMs } = change;
  const { function_id, version, sha256, size_bytes, report, actor } = input;
  const row = await findVersion(change, input);
  if (row.status === 'published') {
    if (row.sha256 !== sha256) throw new CodedError('version_exists');
    return { version: await versionOf(change, row), changed: false };
  }
  await db
    .insert(tables.artifacts)
    .values({ sha256, size_bytes, created_at_ms: nowMs })
    .onConflictDoNothing();
  const news = { status: 'published' as const, sha256, report, published_at_ms: nowMs };
  await db.update(tables.versions).set(news).where(isKey(tables, input));
  await change.record({
    actor,
    action: 'version.publish',
    target: function_id,
    detail: { version, sha256, size_bytes },
  });
  return { version: await versionOf(change, { ...row, ...news }), changed: true };
}

async function remove(change: Change, input: VersionKey & { actor: string }): Promise<string[]> {
  const { db, tables } = change;
  const { deployments, versions } = tables;
  const { function_id, version, actor } = input;
  const { sha256 } = await findVersion(change, input);
  const ofVersion = and(eq(deployments.function_id, function_id), eq(deployments.version, version));
  const [held] = await db
    .select()
    .from(deployments)
    .where(and(ofVersion, isActive(tables)));
  if (held !== undefined) throw new CodedError('version_in_use', { details: { deployment_id: held.id } });
  await db.delete(versions).where(isKey(tables, input));
  await change.record({ actor, action: 'version.delete', target: function_id, detail: { version } });
  return removeUnreferenced(change, [sha256]);
}

/** Orders the versions by name first: rows hold reports, and only those of the page are read. */
async function list(reading: Reading, page: PageRequest & { function_id: string }): Promise<Page<Version>> {
  const { db, tables } = reading;
  const { artifacts, versions } = tables;
  const { function_id, cursor, limit } = page;
  await requireFunction(reading, function_id);
  const isAfter = (version: string): boolean =>
    cursor === null || semver.valid(cursor) === null || semver.lt(version, cursor);
  const names = (await versionsOf(reading, function_id)).filter(isAfter).sort(semver.rcompare);
  const shown = names.slice(0, limit + 1);
  const rows = await db
    .select()
    .from(versions)
    .where(and(eq(versions.function_id, function_id), inArray(versions.version, shown)));
  rows.sort((a, b) => shown.indexOf(a.version) - shown.indexOf(b.version));
  const digests = rows.map((row) => row.sha256).filter((digest) => digest !== null);
  const sizes = await db.select().from(artifacts).where(inArray(artifacts.sha256, digests));
  const sizeOf = new Map(sizes.map(({ sha256, size_bytes }) => [sha256, size_bytes]));
  return pageOfRows(
    rows,
    limit,
    (row) => row.version,
    (row) => toVersion(row, sizeOf.get(row.sha256 ?? '') ?? null),
  );
}

async function upcoming(reading: Reading, function_id: string): Promise<UpcomingVersion> {
  const { db, tables } = reading;
  const { versions } = tables;
  await requireFunction(reading, function_id);
  const rows = await db
    .select()
    .from(versions)
    .where(and(eq(versions.function_id, function_id), eq(versions.status, 'pending')));
  rows.sort((a, b) => b.created_at_ms - a.created_at_ms || semver.rcompare(a.version, b.version));
  const [newest] = rows;
  if (newest !== undefined)
    return { function_id, version: newest.version, settings: newest.settings, status: 'pending' };
  const held = await versionsOf(reading, function_id);
  return { function_id, ...(await following(reading, function_id, held)), status: 'new' };
}

/** The number that follows `held`, and the settings of the highest of them; the first where all are deleted. */
async function following(
  reading: Reading,
  function_id: string,
  held: readonly string[],
): Promise<{ version: string; settings: VersionSettings }> {
  const highest = highestOf(held);
  if (highest === null) return { version: VERSION_FIRST, settings: defaultVersionSettings };
  const { settings } = await findVersion(reading, { function_id, version: highest });
  return { version: after(highest), settings };
}

async function versionsOf({ db, tables }: Reading, function_id: string): Promise<string[]> {
  const { versions } = tables;
  const rows = await db
    .select({ version: versions.version })
    .from(versions)
    .where(eq(versions.function_id, function_id));
  return rows.map((row) => row.version);
}

function higher(held: string | undefined, version: string): string {
  return held === undefined || semver.gt(version, held) ? version : held;
}

function isKey({ versions }: Tables, key: VersionKey): SQL | undefined {
  return and(eq(versions.function_id, key.function_id), eq(versions.version, key.version));
}

async function versionOf({ db, tables }: Reading, row: VersionRow): Promise<Version> {
  if (row.sha256 === null) return toVersion(row, null);
  const { artifacts } = tables;
  const [artifact] = await db.select().from(artifacts).where(eq(artifacts.sha256, row.sha256));
  return toVersion(row, artifact?.size_bytes ?? null);
}

function toVersion(row: VersionRow, size_bytes: number | null): Version {
  const { function_id, version, status, settings, sha256 } = row;
  return {
    function_id,
    version,
    status,
    settings,
    sha256,
    size_bytes,
    created_at: isoTime(row.created_at_ms),
    published_at: row.published_at_ms === null ? null : isoTime(row.published_at_ms),
  };
}
