// Checks modules: a small one in this process, a larger one in a child that a time limit ends.
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { createSerialQueue, piecesOf } from '../../base/concurrency.ts';
import { CHECK_BOUNDS, CHECK_TUNING } from '../../base/limits/module.ts';
import { type CheckResult, checkModule, type ModuleCheck } from '../../model/wasm/check.ts';
import { moduleFault } from '../../model/wasm/fault.ts';
import { childEnvironment } from '../child.ts';

export const CHECK_VARIABLE = 'EDGE_CHECK';

const CheckOptions = Type.Object({ memoryPages: Type.Integer(), entrypoint: Type.String() });
type CheckOptions = Static<typeof CheckOptions>;

/** Reads the value of EDGE_CHECK; throws when it is not what the parent wrote. */
export function decodeCheckOptions(text: string): CheckOptions {
  return Value.Parse(CheckOptions, JSON.parse(text));
}

/** Checks in this process, however long it takes. */
export function checkHere(bytes: Uint8Array, { memoryPages, entrypoint }: CheckOptions): CheckResult {
  const typeCheck = (module: Uint8Array): boolean => WebAssembly.validate(module as Uint8Array<ArrayBuffer>);
  return checkModule(bytes, { memoryPages, entrypoint, typeCheck });
}

/**
 * `self` starts this program again. Children run one at a time, each for `checkMs` at most: a module that
 * needs longer is `module_too_complex`. The caller bounds the number of checks that wait.
 */
export function createModuleCheck(options: { self: readonly string[]; checkMs?: number }): ModuleCheck {
  const { self, checkMs = CHECK_BOUNDS.checkMs } = options;
  const children = createSerialQueue();
  return async (bytes, { memoryPages, entrypoint }) => {
    const checkOptions = { memoryPages, entrypoint };
    if (bytes.length <= CHECK_TUNING.inlineBytesMax) return checkHere(bytes, checkOptions);
    return children(() => checkInChild(bytes, { checkOptions, self, checkMs }));
  };
}

async function checkInChild(
  bytes: Uint8Array,
  { checkOptions, self, checkMs }: { checkOptions: CheckOptions; self: readonly string[]; checkMs: number },
): Promise<CheckResult> {
  const child = Bun.spawn([...self], {
    env: childEnvironment({}, { EDGE_ROLE: 'check', [CHECK_VARIABLE]: JSON.stringify(checkOptions) }),
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'ignore',
    timeout: checkMs,
    killSignal: 'SIGKILL',
    maxBuffer: CHECK_BOUNDS.answerBytesMax,
  });
  // A child that ends before it has read everything says why by its exit.
  const sent = send(bytes, child.stdin).catch(() => undefined);
  const answer = await child.stdout.text();
  await sent;
  const exitCode = await child.exited;
  if (child.signalCode === 'SIGKILL') return { ok: false, error: moduleFault('module_too_complex') };
  if (exitCode !== 0) throw new Error(`the process that checks a module ended with ${exitCode}`);
  return JSON.parse(answer) as CheckResult;
}

/** In pieces, because Bun copies at once what it is given. */
async function send(bytes: Uint8Array, to: Bun.FileSink): Promise<void> {
  for (const piece of piecesOf(bytes)) {
    await to.write(piece);
    await to.flush();
  }
  await to.end();
}
