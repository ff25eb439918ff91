// Numeric instructions give the same results in compiled code, in the interpreter and in JavaScript's engine.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemRandom } from '../../../src/base/id.ts';
import { openCodeCache } from '../../../src/engine/code/cache.ts';
import { openTestEngine } from '../harness.ts';
import { CASES_PER_ANSWER, numericGuest, resultOf } from './numeric_guest.ts';

const { cases, module } = numericGuest();
const paths = Array.from({ length: Math.ceil(cases.length / CASES_PER_ANSWER) }, (_, at) =>
  '/'.repeat(at + 1),
);

const results = (answer: Uint8Array, path: string): string[] => {
  const first = (path.length - 1) * CASES_PER_ANSWER;
  const answered = cases.slice(first, first + CASES_PER_ANSWER);
  return answered.map((one, at) => `${one.name}: ${resultOf(one, answer, at)}`);
};

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'edge-test-'));
});
afterAll(() => rm(dir, { recursive: true }));

/** The results here, from the engine that runs these tests. */
async function resultsHere(): Promise<string[]> {
  const compiled = await WebAssembly.compile(module);
  return paths.flatMap((path) => {
    const { handle, memory } = new WebAssembly.Instance(compiled).exports;
    if (!(memory instanceof WebAssembly.Memory) || typeof handle !== 'function') throw new Error('no guest');
    const response = memory.buffer.byteLength;
    memory.grow(16);
    const length = Number(handle(0, 0, 0, path.length, 0, 0, 0, 0, response, 1 << 20));
    return results(new Uint8Array(memory.buffer).slice(response, response + length), path);
  });
}

async function resultsOfEngine(execution: 'aot' | 'interpreter'): Promise<string[]> {
  const host = await openTestEngine({ dir });
  try {
    const { code, pool } = await host.openGuest(module);
    expect(code.execution).toBe(execution);
    const found: string[] = [];
    for (const path of paths) {
      const outcome = await host.invoke(pool, { target: path });
      if (outcome.kind !== 'answer') throw new Error(`no answer: ${JSON.stringify(outcome)}`);
      found.push(...results(outcome.body, path));
    }
    return found;
  } finally {
    await host.close();
  }
}

/** The first differences only: a list of thousands helps nobody. */
const differences = (found: readonly string[], expected: readonly string[]): string[] =>
  found.flatMap((one, at) => (one === expected[at] ? [] : [`${one}, not ${expected[at]}`])).slice(0, 10);

describe('Every numeric instruction', () => {
  test('gives in compiled code what it gives here', async () => {
    expect(cases.length).toBeGreaterThan(5_000);
    expect(differences(await resultsOfEngine('aot'), await resultsHere())).toEqual([]);
  }, 60_000);

  test('gives in the interpreter what it gives here', async () => {
    const name = (readdirSync(join(dir, 'compiled'))[0] ?? '').replace(/\.bin$/, '');
    const key = new Uint8Array(readFileSync(join(dir, 'node.key')));
    const cache = await openCodeCache({
      dir: join(dir, 'compiled'),
      key,
      bytesMax: 1e9,
      nowMs: () => 0,
      randomBytes: systemRandom,
    });
    await cache.put(name, { execution: 'interpreter', code: module });
    expect(differences(await resultsOfEngine('interpreter'), await resultsHere())).toEqual([]);
  }, 60_000);
});
