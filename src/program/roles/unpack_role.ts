// The role `unpack`: a child that unpacks the engine's libraries where its parent says.
import { isAbsolute } from 'node:path';
import { createSystemClock } from '../../base/clock.ts';
import { inputsOfProcess } from '../../config/inputs.ts';
import { openAssets } from '../embedded/assets.ts';
import { type RuntimeManifest, UNPACK_BASE_VARIABLE } from '../embedded/runtime.ts';
import { unpackRuntime } from '../embedded/unpacker.ts';

/** Reports the number of bytes done on stdout, one line per report. */
export async function runUnpackRole(): Promise<void> {
  const base = inputsOfProcess().env[UNPACK_BASE_VARIABLE] ?? '';
  if (!isAbsolute(base)) throw new Error(`${UNPACK_BASE_VARIABLE} must be an absolute path`);
  const { archive, manifest } = openAssets();
  await unpackRuntime({
    archive,
    manifest: (await manifest.json()) as RuntimeManifest,
    base,
    clock: createSystemClock(),
    write: (text) => void process.stdout.write(text),
  });
}
