// A module that calls its imports only where it gives up runs as compiled code.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { codeOf, openTestEngine, type TestEngine } from '../harness.ts';

/** Compiled code needs a tenth of this at most, the interpreter several times as much. */
const DEADLINE_MS = 2_000;

/*
 * (module
 *   (import "env" "response_status" (func $first (param i32) (result i32)))
 *   (import "env" "response_write" (func $last (param i32 i32) (result i32)))
 *   (memory (export "memory") 1)
 *   (func $panic (drop (call $first (i32.const 418))) unreachable)
 *   (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (local i32)
 *     (loop $again
 *       (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (local.get 10)))
 *       (br_if $again (i32.ne (i32.const 60000000) (local.tee 10 (i32.add (local.get 10) (i32.const 1))))))
 *     (if (i32.load8_u offset=1 (local.get 2)) (then (call $panic)))
 *     (i32.const 0)))
 */
const FIRST =
  'AGFzbQEAAAABHQRgAX8Bf2ACf38Bf2AAAGAKf39/f39/f39/fwF/AiwCA2Vudg9yZXNwb25zZV9zdGF0dXMAAANlbnYOcmVzcG9u' +
  'c2Vfd3JpdGUAAQMDAgIDBQMBAAEHEwIGbWVtb3J5AgAGaGFuZGxlAAMKPQIJAEGiAxAAGgALMQEBfwNAQcAAQcAAKAIAIApqNgIA' +
  'QYCOzhwgCkEBaiIKRw0ACyACLQABBEAQAgtBAAs=';
/** The same with `(call $last (i32.const 0) (i32.const 0))` in $panic. */
const LAST =
  'AGFzbQEAAAABHQRgAX8Bf2ACf38Bf2AAAGAKf39/f39/f39/fwF/AiwCA2Vudg9yZXNwb25zZV9zdGF0dXMAAANlbnYOcmVzcG9u' +
  'c2Vfd3JpdGUAAQMDAgIDBQMBAAEHEwIGbWVtb3J5AgAGaGFuZGxlAAMKPgIKAEEAQQAQARoACzEBAX8DQEHAAEHAACgCACAKajYC' +
  'AEGAjs4cIApBAWoiCkcNAAsgAi0AAQRAEAILQQAL';

describe.each([
  ['the first import', FIRST],
  ['the last import', LAST],
])('A module that gives up through %s', (_, text) => {
  let host: TestEngine;
  beforeAll(async () => {
    host = await openTestEngine({ limits: { poolWorkersMax: 1 } });
    await host.engine.ready();
  });
  afterAll(() => host.close());

  test('counts to sixty million in time, and gives up', async () => {
    const settings = { max_execution_ms: DEADLINE_MS };
    const { code, pool } = await host.openGuest(new Uint8Array(Buffer.from(text, 'base64')), settings);
    expect(code.execution).toBe('aot');
    expect(await pool.warm(1)).toEqual({ ok: true });
    expect(codeOf(await host.invoke(pool, {}, DEADLINE_MS))).toBe('answer');
    expect(codeOf(await host.invoke(pool, { target: '/x' }, DEADLINE_MS))).toBe('trap_unreachable');
  }, 20_000);
});
