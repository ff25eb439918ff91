// Checks modules: a small one here and now, a larger one in a child with a wall clock, so that nobody waits
// for it.
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { CHECK_BOUNDS, CHECK_TUNING } from '../../base/limits/module.ts';
import { type CheckResult, checkModule, type ModuleCheck } from '../../model/wasm/check.ts';
import { moduleFault } from '../../model/wasm/fault.ts';
import { childEnvironment } from '../child.ts';

export const CHECK_VARIABLE = 'EDGE_CHECK';

const Options = Type.Object({ memoryPages: Type.Integer(), entrypoint: Type.String() });
type Options = Static<typeof Options>;

export function decodeCheckOptions(text: string): Options {
  return Value.Parse(Options, JSON.parse(text));
}

export function checkHere(bytes: Uint8Array, { memoryPages, entrypoint }: Options): CheckResult {
  const typeCheck = (held: Uint8Array): boolean => WebAssembly.validate(held as Uint8Array<ArrayBuffer>);
  return checkModule(bytes, { memoryPages, entrypoint, typeCheck });
}

/**
 * `self` starts this program again. One child runs at a time, for `CHECK_BOUNDS.checkMs` at most: a module
 * that needs longer is `module_too_complex`. Whoever calls bounds the number of checks that wait.
 */
export function createModuleCheck(options: { self: readonly string[]; checkMs?: number }): ModuleCheck {
  const { self, checkMs = CHECK_BOUNDS.checkMs } = options;
  let last: Promise<unknown> = Promise.resolve();
  return (bytes, { memoryPages, entrypoint }) => {
    const asked = { memoryPages, entrypoint };
    if (bytes.length <= CHECK_TUNING.inlineBytesMax) return Promise.resolve(checkHere(bytes, asked));
    const mine = last.then(() => checkInChild(bytes, { asked, self, checkMs }));
    last = mine.catch(() => undefined);
    return mine;
  };
}

async function checkInChild(
  bytes: Uint8Array,
  { asked, self, checkMs }: { asked: Options; self: readonly string[]; checkMs: number },
): Promise<CheckResult> {
  const child = Bun.spawn([...self], {
    env: childEnvironment({}, { EDGE_ROLE: 'check', [CHECK_VARIABLE]: JSON.stringify(asked) }),
    stdin: bytes,
    stdout: 'pipe',
    stderr: 'ignore',
    timeout: checkMs,
    killSignal: 'SIGKILL',
    maxBuffer: CHECK_BOUNDS.answerBytesMax,
  });
  const answer = await new Response(child.stdout).text();
  const exitCode = await child.exited;
  if (child.signalCode === 'SIGKILL') return { ok: false, error: moduleFault('module_too_complex') };
  if (exitCode !== 0) throw new Error(`the check of a module ended with ${exitCode}`);
  return JSON.parse(answer) as CheckResult;
}
