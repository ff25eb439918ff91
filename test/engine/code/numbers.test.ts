// Numeric instructions give the same results in compiled code, in the interpreter and in JavaScript's engine.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openTestEngine } from '../harness.ts';
import { interpret } from '../interpret.ts';
import { CASES_PER_ANSWER, numericGuest, resultOf } from './numeric_guest.ts';

type Guest = ReturnType<typeof numericGuest>;

const pathsOf = ({ cases }: Guest): string[] =>
  Array.from({ length: Math.ceil(cases.length / CASES_PER_ANSWER) }, (_, at) => '/'.repeat(at + 1));

function results({ cases }: Guest, answer: Uint8Array, path: string): string[] {
  const first = (path.length - 1) * CASES_PER_ANSWER;
  const answered = cases.slice(first, first + CASES_PER_ANSWER);
  return answered.map((one, at) => `${one.name}: ${resultOf(one, answer, at)}`);
}

/** The results here, from the engine that runs these tests. */
async function resultsHere(guest: Guest): Promise<string[]> {
  const compiled = await WebAssembly.compile(guest.module);
  return pathsOf(guest).flatMap((path) => {
    const { handle, memory } = new WebAssembly.Instance(compiled).exports;
    if (!(memory instanceof WebAssembly.Memory) || typeof handle !== 'function') throw new Error('no guest');
    const response = memory.buffer.byteLength;
    memory.grow(16);
    const length = Number(handle(0, 0, 0, path.length, 0, 0, 0, 0, response, 1 << 20));
    return results(guest, new Uint8Array(memory.buffer).slice(response, response + length), path);
  });
}

async function resultsOfEngine(
  guest: Guest,
  dir: string,
  execution: 'aot' | 'interpreter',
): Promise<string[]> {
  const host = await openTestEngine({ dir });
  try {
    const { code, pool } = await host.openGuest(guest.module);
    expect(code.execution).toBe(execution);
    const found: string[] = [];
    for (const path of pathsOf(guest)) {
      const outcome = await host.invoke(pool, { target: path });
      if (outcome.kind !== 'answer') throw new Error(`no answer: ${JSON.stringify(outcome)}`);
      found.push(...results(guest, outcome.body, path));
    }
    return found;
  } finally {
    await host.close();
  }
}

/** The first differences only: a list of thousands helps nobody. */
const differences = (found: readonly string[], expected: readonly string[]): string[] =>
  found.flatMap((one, at) => (one === expected[at] ? [] : [`${one}, not ${expected[at]}`])).slice(0, 10);

describe.each([
  ['as it stands', { inlined: false }],
  ['also in functions that the compiler inlines', { inlined: true }],
])('Every numeric instruction, %s,', (_, options) => {
  const guest = numericGuest(options);
  let dir = '';
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'edge-test-'));
  });
  afterAll(() => rm(dir, { recursive: true }));

  test('gives in compiled code and in the interpreter what it gives here', async () => {
    const here = await resultsHere(guest);
    expect(here.length).toBeGreaterThan(9_000);
    expect(differences(await resultsOfEngine(guest, dir, 'aot'), here)).toEqual([]);
    await interpret(guest.module, dir);
    expect(differences(await resultsOfEngine(guest, dir, 'interpreter'), here)).toEqual([]);
  }, 120_000);
});
