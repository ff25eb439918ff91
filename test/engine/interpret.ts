// Makes an engine run a module in the interpreter that it would run compiled.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSystemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/id.ts';
import { openCodeCache } from '../../src/engine/code/cache.ts';
import { silentLog } from './harness.ts';

/** `dir` is that of an engine that was closed and has compiled `module` and nothing else. */
export async function interpret(module: Uint8Array, dir: string): Promise<void> {
  const compiled = join(dir, 'compiled');
  const name = (readdirSync(compiled)[0] ?? '').replace(/\.bin$/, '');
  const key = new Uint8Array(readFileSync(join(dir, 'node.key')));
  const cache = await openCodeCache({
    dir: compiled,
    key,
    bytesMax: 1e9,
    clock: createSystemClock(),
    randomBytes: systemRandom,
    log: silentLog,
  });
  await cache.put(name, { execution: 'interpreter', code: module });
}
