// An engine process that ends before it serves: what is tried again, and what never heals.
import { afterEach, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createManualClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { superviseEngine } from '../../../src/engine/process/process.ts';
import { ENGINE_EXIT } from '../../../src/engine/process/role_input.ts';
import { EngineUnusable } from '../../../src/engine/ring/process_exit.ts';
import { checkLayout, geometryOf, LAYOUT_VERSION } from '../../../src/engine/ring/geometry.ts';
import { openTestEngine, type TestEngine } from '../harness.ts';

let dir = '';
let host: TestEngine | null = null;
afterEach(async () => {
  await host?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** An engine whose processes end with these codes, one after the other. */
async function openWith(codes: readonly number[]): Promise<{ engine: TestEngine; starts: () => number }> {
  dir = mkdtempSync(join(tmpdir(), 'edge-test-'));
  const marks = join(dir, 'starts');
  const program = `
    const { appendFileSync, readFileSync } = require('node:fs');
    appendFileSync(${JSON.stringify(marks)}, 'x');
    const code = ${JSON.stringify(codes)}[readFileSync(${JSON.stringify(marks)}).length - 1];
    console.log('0.0.0');
    process.exit(code);`;
  host = await openTestEngine({ command: [process.execPath, '-e', program] });
  return { engine: host, starts: () => (existsSync(marks) ? readFileSync(marks).length : 0) };
}

test('Another layout of the ring is said once, and nothing is started again', async () => {
  const { engine, starts } = await openWith([ENGINE_EXIT.layout]);
  const failure = await engine.engine.ready().catch((reason: unknown) => reason);
  expect(failure).toBeInstanceOf(EngineUnusable);
  expect(await engine.engine.unusable).toMatchObject({
    message:
      'libedge_engine.so was built with another layout of the ring than this program: ' +
      'rebuild both with `bun build.ts`, or install the executable again',
  });
  await engine.engine.close();
  expect([starts(), engine.lines.filter((line) => line.includes('trying again'))]).toEqual([1, []]);
});

test('An engine process that ends for another reason is started again', async () => {
  const { engine, starts } = await openWith([ENGINE_EXIT.failed, ENGINE_EXIT.layout]);
  await engine.engine.unusable;
  expect(starts()).toBe(2);
  expect(engine.lines.filter((line) => line.includes('trying again'))).toHaveLength(1);
});

test('Another layout of libedge_ring.so is said once, and nothing is started', async () => {
  const clock = createManualClock();
  const lines: string[] = [];
  const ignore = (): void => {};
  const supervisor = superviseEngine({
    library: {
      seal: () => ({ fd: -1, bytes: 0, close: ignore }),
      stopListening: () => false,
      open() {
        checkLayout(LAYOUT_VERSION + 1);
        throw new Error('not reached');
      },
    },
    libraryDir: '/nonexistent',
    command: ['/nonexistent/edge'],
    geometry: geometryOf({ workers: 1, requestBytesMax: 1, responseBytesMax: 1 }),
    clock,
    log: createLog({ clock, write: (line) => void lines.push(line) }),
    random: () => 0,
    wall: { allowsWeak: false, confine: () => ({ part: 'cgroup', state: 'held', reason: null }) },
    handlers: {
      opened: ignore,
      lost: ignore,
      started: ignore,
      exited: ignore,
      compiled: ignore,
      wakes: { woke: ignore, wake: ignore },
      wall: ignore,
    },
  });
  await expect(supervisor.ready()).rejects.toBeInstanceOf(EngineUnusable);
  expect((await supervisor.unusable).message).toContain('libedge_ring.so has ring layout');
  await supervisor.close();
  expect(lines).toHaveLength(1);
});
