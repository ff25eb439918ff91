// Makes one mutant again and shows what happens to it: `bun test/hostile/replay.ts SEED:INDEX [FILE.wasm]`.
import { checkHere } from '../../src/program/roles/module_check.ts';
import { startUp, temporaryDirectory } from '../system/harness.ts';
import { nameOf, openMutants } from './mutants/mutants.ts';
import { runMutant } from './mutants/run.ts';

const [which = '', file] = process.argv.slice(2);
const [seed, index] = which.split(':').map(Number);
if (!Number.isInteger(seed) || !Number.isInteger(index)) {
  process.stderr.write('use: bun test/hostile/replay.ts SEED:INDEX [FILE.wasm]\n');
  process.exit(2);
}
const mutant = (await openMutants(seed ?? 0))(index ?? 0);
process.stdout.write(`${nameOf(mutant)}\n`);
if (file !== undefined) await Bun.write(file, mutant.bytes);
const checked = checkHere(mutant.bytes, { memoryPages: 256, entrypoint: 'handle' });
process.stdout.write(`check: ${checked.ok ? 'accepted' : JSON.stringify(checked.error)}\n`);
using directory = temporaryDirectory();
const up = await startUp(directory.path);
try {
  process.stdout.write(`edge: ${JSON.stringify(await runMutant(up, mutant), null, 2)}\n`);
} finally {
  await up.close();
}
