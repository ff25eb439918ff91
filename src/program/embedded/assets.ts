// The files that travel inside the executable; from sources, the same files as the last build left them.
import { join } from 'node:path';

declare const EDGE_VERSION: string | undefined;

export type Assets = {
  /** The engine's libraries as tar.zst; read only by the process that unpacks them. */
  archive: Blob;
  /** The RuntimeManifest of `archive`, as JSON. */
  manifest: Blob;
  /** The hello fixture that `up --demo` deploys. */
  hello: Blob;
  /** Directory of the database migrations; inside the executable it is readable through node:fs only. */
  migrationsDir: string;
};

/** Opens no file: each Blob is read when it is used. */
export function openAssets(): Assets {
  const isPacked = Bun.isStandaloneExecutable;
  // In the executable this code is part of the bundle of `program/program.ts`, one folder below the assets.
  const top = join(import.meta.dir, isPacked ? '..' : '../../..');
  const assets = isPacked ? join(top, 'assets') : join(top, 'dist', 'stage', 'assets');
  return {
    archive: Bun.file(join(assets, 'engine.tar.zst')),
    manifest: Bun.file(join(assets, 'engine.json')),
    hello: Bun.file(join(assets, 'hello.wasm')),
    migrationsDir: join(top, 'migrations'),
  };
}

/** The version of package.json at build time, or `development` from sources. */
export function versionOfProgram(): string {
  return typeof EDGE_VERSION === 'undefined' ? 'development' : EDGE_VERSION;
}
