// A very large module: what is done to it in the edge's own process never holds the thread for long.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Sliced, runAtOnce, sha256Of } from '../../../src/base/concurrency.ts';
import { openFile, sealFile } from '../../../src/engine/code/cache.ts';
import { packCode } from '../../../src/engine/code/pack.ts';
import { defaultVersionSettings } from '../../../src/model/function.ts';
import { replaceMinMax } from '../../../src/model/wasm/min_max.ts';
import { stripCustomSections } from '../../../src/model/wasm/strip.ts';
import { createModuleCheck } from '../../../src/program/roles/module_check.ts';
import { HANDLE_TYPE, body, exported, HEADER, u32 as leb, vector, ZERO } from '../../model/wasm/builder.ts';
import { codeOf, openTestEngine, type TestEngine } from '../harness.ts';
import { objectOf, SYMBOLS } from './object.ts';

const MIB = 1024 * 1024;
const key = new Uint8Array(32).fill(7);
const executable = resolve(import.meta.dir, '../../../dist/edge');
/** What one turn of the event loop may take; a neighbour waits as long. */
const HOLD_MS_MAX = 25;

/** Processor time of this thread, in milliseconds: what other processes do meanwhile does not count. */
const cpuMs = (): number =>
  Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;

const sectionOf = (id: number, contents: Uint8Array): Uint8Array =>
  Buffer.concat([Uint8Array.from([id, ...leb(contents.length)]), contents]);

/** A valid guest with so many functions and so much data; the functions run `code`. */
function largeModule(parts: { functions: number; dataBytes: number; code: readonly number[] }): Uint8Array {
  const { code, dataBytes, functions } = parts;
  const bodies = Array.from({ length: functions }, () => Uint8Array.from(body([...code, ...ZERO])));
  const types = Uint8Array.from([...leb(functions), ...new Array<number>(functions).fill(0)]);
  const data = Buffer.alloc(dataBytes, 'a sentence that is repeated ');
  return Buffer.concat([
    Uint8Array.from(HEADER),
    sectionOf(1, Uint8Array.from(vector([HANDLE_TYPE]))),
    sectionOf(3, types),
    sectionOf(5, Uint8Array.from([1, 0, ...leb(dataBytes / 65_536 + 1)])),
    sectionOf(7, Uint8Array.from(vector([exported('memory', 2, 0), exported('handle', 0, 0)]))),
    sectionOf(10, Buffer.concat([Uint8Array.from(leb(functions)), ...bodies])),
    sectionOf(11, Buffer.concat([Uint8Array.from([1, 0, 0x41, 0, 0x0b, ...leb(dataBytes)]), data])),
  ]);
}

/** The longest time between two pauses, and the result. */
function longestSlice<T>(work: Sliced<T>): { longestMs: number; value: T } {
  let longestMs = 0;
  for (;;) {
    const startMs = cpuMs();
    const step = work.next();
    longestMs = Math.max(longestMs, cpuMs() - startMs);
    if (step.done === true) return { longestMs, value: step.value };
  }
}

describe('A long computation pauses often', () => {
  const minimum = [0x43, 0, 0, 0, 0, 0x43, 0, 0, 0, 0, 0x96, 0x1a];
  const module = largeModule({
    functions: 200,
    dataBytes: 8 * MIB,
    code: Array.from({ length: 2_000 }, () => minimum).flat(),
  });
  const functions = Array.from({ length: 20_000 }, (_, at) => ({
    name: `f${at}`,
    section: '.text',
    type: 2,
    address: 0x10000 + at * 16,
    size: 16,
  }));
  const object = objectOf({
    sections: {
      '.text': { type: 1, flags: 6, address: 0x10000, bytes: Buffer.alloc(40 * MIB, 0xc3) },
      '.bss': { type: 8, flags: 3, address: 0x30000000, size: 8 },
    },
    symbols: [
      ...SYMBOLS.slice(0, 2),
      { name: 'intrinsics', section: '.bss', type: 1, address: 0x30000000, size: 8 },
      { name: 't0', section: '.text', type: 2, address: 0x10000, size: 16 },
      ...functions,
    ],
  });
  const many = largeModule({ functions: functions.length, dataBytes: 8 * MIB, code: minimum });
  const packed = runAtOnce(packCode(many, object, 'x64'));
  if (!packed.ok) throw new Error(packed.fault);
  const entry = { execution: 'aot', code: packed.code } as const;

  test.each<[string, () => Sliced<unknown>]>([
    ['the digest of a module', () => sha256Of(module)],
    ['dropping custom sections', () => stripCustomSections(module)],
    ['replacing minimum and maximum', () => replaceMinMax(module)],
    ['packing compiled code', () => packCode(many, object, 'x64')],
    ['sealing a compiled file', () => sealFile(key, 'a', entry)],
    ['opening a compiled file', () => openFile(key, 'a', runAtOnce(sealFile(key, 'a', entry)))],
  ])('%s', (_, work) => {
    expect(longestSlice(work()).longestMs).toBeLessThan(HOLD_MS_MAX);
  });
});

describe('While a module of 28 MiB is prepared', () => {
  let host: TestEngine;
  beforeAll(async () => {
    host = await openTestEngine({ check: createModuleCheck({ self: [executable] }) });
    await host.engine.ready();
  });
  afterAll(() => host.close());

  test('a neighbour is answered, and no turn of the event loop takes long', async () => {
    const neighbour = await host.openGuest('hello/hello-c.wasm');
    const module = largeModule({ functions: 1_000, dataBytes: 28 * MIB, code: [] });
    const sha256 = runAtOnce(sha256Of(module));
    const settings = { ...defaultVersionSettings, memory_pages: 512 };
    const outcomes: string[] = [];
    let holdMs = 0;
    let isDone = false;
    const watch = async (): Promise<void> => {
      let beforeMs = cpuMs();
      while (!isDone) {
        await new Promise((turn) => setImmediate(turn));
        holdMs = Math.max(holdMs, cpuMs() - beforeMs);
        beforeMs = cpuMs();
      }
    };
    const ask = async (): Promise<void> => {
      while (!isDone) outcomes.push(codeOf(await host.invoke(neighbour.pool, {}, 500)));
    };
    const preparing = host.engine
      .prepare({ artifact: module, sha256, settings })
      .finally(() => (isDone = true));
    await Promise.all([watch(), ask(), preparing]);
    expect(await preparing).toMatchObject({ ok: true });
    expect(new Set(outcomes)).toEqual(new Set(['answer']));
    expect(outcomes.length).toBeGreaterThan(10);
    expect(holdMs).toBeLessThan(HOLD_MS_MAX);
  });
});
