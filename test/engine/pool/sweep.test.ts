// The timer of the engine: fast while anything is under way, and nothing once it is closed.
import { expect, test } from 'bun:test';
import { createSweep } from '../../../src/engine/pool/sweep.ts';
import { until } from '../harness.ts';

test('A sweep that was closed runs no more, whoever arms it', async () => {
  let runs = 0;
  let runsClosed = 0;
  const open = createSweep(() => (runs += 1) > 0);
  const closed = createSweep(() => (runsClosed += 1) > 0);
  open.arm();
  closed.arm();
  closed.close();
  closed.arm();
  await until('the other one has run', () => runs > 3);
  open.close();
  expect(runsClosed).toBe(0);
});
