// Compares the artifacts of a data directory with the versions that need them, and changes nothing.
import { constants, Database as Sqlite } from 'bun:sqlite';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CONTROL_TUNING } from '../../base/limits/control.ts';
import type { ArtifactsReport, BrokenArtifact } from '../../model/artifact.ts';
import { namesIn, verifyFile } from './disk.ts';

type VersionRow = BrokenArtifact['versions'][number] & { sha256: string };

/** Null where `dataDir` is not that of a control plane. Throws where its database cannot be read. */
export async function inspectArtifacts(dataDir: string): Promise<ArtifactsReport | null> {
  const path = join(dataDir, 'control.db');
  if (!existsSync(path)) return null;
  const dir = join(dataDir, 'artifacts');
  // Files before rows: a version that is published in between is then no orphan.
  const files = await filesIn(dir);
  const { artifacts, versions } = readRows(path);
  const known = new Set(artifacts);
  const aside = new Set(await namesIn(join(dir, 'orphaned')));
  const damaged = await namesIn(join(dir, 'damaged'));
  const broken: BrokenArtifact[] = [];
  for (const sha256 of artifacts) {
    const state = await verifyFile(join(dir, sha256.slice(0, 2), sha256), sha256);
    if (state === 'whole') continue;
    const needing = versions.filter((one) => one.sha256 === sha256);
    const named = needing.map(({ project_id, name, function_id, version }) => {
      return { project_id, name, function_id, version };
    });
    broken.push({
      sha256,
      state,
      is_aside: state === 'missing' && aside.has(sha256),
      versions: named,
    });
  }
  return {
    checked: artifacts.length,
    broken,
    orphaned: files.filter((sha256) => !known.has(sha256)),
    set_aside: { orphaned: aside.size, damaged: damaged.length },
  };
}

async function filesIn(dir: string): Promise<string[]> {
  const folders = existsSync(dir) ? (await readdir(dir)).filter((name) => /^[0-9a-f]{2}$/.test(name)) : [];
  const files: string[] = [];
  for (const folder of folders.sort()) files.push(...(await namesIn(join(dir, folder))));
  return files;
}

function readRows(path: string): { artifacts: string[]; versions: VersionRow[] } {
  const sqlite = openReadOnly(path);
  try {
    sqlite.run(`PRAGMA busy_timeout = ${CONTROL_TUNING.databaseBusyMs}`);
    const artifacts = sqlite.query<{ sha256: string }, []>('SELECT sha256 FROM artifacts ORDER BY sha256');
    const versions = sqlite.query<VersionRow, []>(
      `SELECT v.sha256, f.project_id, f.name, v.function_id, v.version FROM versions v
        JOIN functions f ON f.id = v.function_id WHERE v.sha256 IS NOT NULL ORDER BY f.name, v.version`,
    );
    return { artifacts: artifacts.all().map(({ sha256 }) => sha256), versions: versions.all() };
  } finally {
    sqlite.close();
  }
}

/**
 * Where no process has it open, SQLite would make two files beside it, which would then belong to whoever runs
 * this, perhaps root.
 */
function openReadOnly(path: string): Sqlite {
  if (existsSync(`${path}-wal`)) return new Sqlite(path, { readonly: true, strict: true });
  const uri = `${pathToFileURL(path).href}?immutable=1`;
  return new Sqlite(uri, constants.SQLITE_OPEN_READONLY | constants.SQLITE_OPEN_URI);
}
