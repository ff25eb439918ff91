// The role `unpack`: a child that writes the engine's libraries where its parent says, and reports on stdout.
import { isAbsolute } from 'node:path';
import { openAssets } from '../embedded/assets.ts';
import { createSystemClock } from '../../base/clock.ts';
import { inputsOfProcess } from '../../config/inputs.ts';
import { type RuntimeManifest, UNPACK_BASE_VARIABLE } from '../embedded/runtime.ts';
import { unpackRole } from '../embedded/unpacker.ts';

export async function runUnpackRole(): Promise<void> {
  const base = inputsOfProcess().env[UNPACK_BASE_VARIABLE] ?? '';
  if (!isAbsolute(base)) throw new Error(`${UNPACK_BASE_VARIABLE} must be an absolute path`);
  const { archive, manifest } = openAssets();
  await unpackRole({
    archive,
    manifest: (await manifest.json()) as RuntimeManifest,
    base,
    clock: createSystemClock(),
    write: (text) => void process.stdout.write(text),
  });
}
