// What the edge takes from the slot of a worker that writes whatever it likes, in the memory of a real ring.
import { dlopen, type Pointer, toArrayBuffer } from 'bun:ffi';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { join } from 'node:path';
import { REQUEST_BOUNDS } from '../../../src/base/limits/request.ts';
import { PAGE_BYTES, PART, WORKER_SLOTS } from '../../../src/engine/ring/geometry.ts';
import { SLOT } from '../../../src/engine/ring/results.ts';
import { bindRingLibrary, type Ring, type RingEvent } from '../../../src/engine/ring/ring.ts';
import { RING_SYMBOLS } from '../../../src/engine/ring/symbols.ts';
import type { InvocationOutcome } from '../../../src/model/invocation.ts';
import { libraryDir } from '../harness.ts';

const GENERATION = 1;
/** Places of the words of `struct edge_slot`, which native/layout.h asserts. */
const AT = { result: 20, status: 28, headBytes: 32, logBytes: 40, logDropped: 44 } as const;
/** The state of the first slot in `struct edge_board`, which fills the page before it. */
const STATE_AT = 12;
const REQUEST = { requestId: 'r', method: 'GET', target: '/', headers: '', body: null };

type Lie = { result?: number; status?: number; head?: string; headBytes?: number };

const { symbols } = dlopen(join(libraryDir(), 'libedge_ring.so'), RING_SYMBOLS);
let ring: Ring;
let slot: Buffer;
let board: Buffer;
let partAt: (part: number) => number;
/** Readies the slot after a broken answer, for which the edge would kill the worker. */
let release: () => void;

beforeEach(() => {
  let opened: Pointer | null = null;
  const open = ((...sizes: Parameters<typeof symbols.edge_ring_open>) =>
    (opened = symbols.edge_ring_open(...sizes) as Pointer | null)) as typeof symbols.edge_ring_open;
  const library = bindRingLibrary({ ...symbols, edge_ring_open: open });
  const part = PAGE_BYTES * 8;
  ring = library.open({
    slots: WORKER_SLOTS,
    requestHeadBytes: part,
    requestBodyBytes: part,
    responseHeadBytes: part,
    responseBodyBytes: part,
    logBytes: part,
  });
  const memory = opened as Pointer | null;
  if (memory === null) throw new Error('the ring has no memory');
  const start = symbols.edge_ring_slot(memory, 0);
  if (start === null) throw new Error('the ring has no slot');
  slot = Buffer.from(toArrayBuffer(start, 0, symbols.edge_ring_slot_bytes(memory)));
  board = Buffer.from(toArrayBuffer(start, -PAGE_BYTES, PAGE_BYTES));
  partAt = (number) => symbols.edge_ring_offset(memory, number);
  release = () => expect(symbols.edge_ring_release(memory, 0, GENERATION)).toBe(0);
  const command = ring.openCommand();
  const code = library.seal(new Uint8Array(4));
  expect(ring.fork({ slot: 0, generation: GENERATION, codeFd: code.fd, startBlock: new Uint8Array(4) })).toBe(
    true,
  );
  ring.closeFd(command);
  code.close();
  setState(SLOT.ready);
  expect(ring.poll(0, GENERATION)?.kind).toBe('ready');
});

afterEach(() => {
  ring.closeCommand();
  ring.close();
});

function setState(state: number): void {
  board.writeUInt32LE((GENERATION << 8) | state, STATE_AT);
}

function answer({ result = 0, status = 200, head = '', headBytes = head.length }: Lie): RingEvent | null {
  expect(ring.post(0, GENERATION, REQUEST)).toBe('posted');
  slot.write(head, partAt(PART.responseHead), 'latin1');
  slot.writeUInt32LE(result, AT.result);
  slot.writeUInt32LE(status, AT.status);
  slot.writeUInt32LE(headBytes, AT.headBytes);
  setState(SLOT.done);
  return ring.poll(0, GENERATION);
}

function outcomeOf(event: RingEvent | null): InvocationOutcome {
  if (event?.kind !== 'answer') throw new Error(`no answer: ${JSON.stringify(event)}`);
  return event.outcome;
}

describe('The head that a lying worker writes', () => {
  test.each([
    ['x-accel-redirect: /secret\r\n', 'header "x-accel-redirect" gives orders to a proxy: remove it'],
    ['ALT-SVC: clear\r\n', 'header "alt-svc" speaks for the whole host: remove it'],
    ['x-edge-version: 9\r\n', 'header "x-edge-version" is for the host alone: remove it'],
    ['a: b\r\n\r\n', 'a header line is not `name: value`'],
  ])('reaches no client: %j', (head, detail) => {
    const outcome = outcomeOf(answer({ head }));
    expect(outcome).toEqual({ kind: 'fault', code: 'invalid_guest_response', detail, logs: null });
  });

  test('keeps every byte of its values where it is right', () => {
    const outcome = outcomeOf(answer({ head: 'x-a: voil\xc3\xa0\r\nx-a: \xa0\r\n' }));
    const headers = [
      ['x-a', 'voil\xc3\xa0'],
      ['x-a', '\xa0'],
    ];
    expect(outcome).toMatchObject({ kind: 'answer', headers });
  });

  test('never throws and is never longer than its area, whatever the words say', () => {
    const word = fc.oneof(fc.nat(20), fc.integer({ min: 0, max: 0xffff_ffff }));
    const bytes = fc.uint8Array({ maxLength: 300 }).map((text) => Buffer.from(text).toString('latin1'));
    const lie = fc.record({ result: word, status: word, head: bytes, headBytes: word });
    fc.assert(
      fc.property(lie, (given) => {
        const event = answer(given);
        expect(['answer', 'broken']).toContain(event?.kind ?? 'none');
        if (event?.kind === 'broken') release();
      }),
    );
  });
});

describe('The log that a lying worker writes', () => {
  test('is read while its request has no answer, as long as its area at most', () => {
    expect(ring.logs(0, GENERATION)).toBeNull();
    expect(ring.post(0, GENERATION, REQUEST)).toBe('posted');
    expect(ring.logs(0, GENERATION)).toBeNull();
    const at = partAt(PART.log);
    slot.writeUInt32LE(3, at);
    slot.writeUInt32LE(4, at + 4);
    slot.write('last', at + 8);
    slot.writeUInt32LE(12, AT.logBytes);
    slot.writeUInt32LE(7, AT.logDropped);
    expect(ring.logs(0, GENERATION)).toEqual({ lines: [{ level: 3, text: 'last' }], dropped: 7 });
    slot.writeUInt32LE(0xffff_ffff, AT.logBytes);
    expect(ring.logs(0, GENERATION)?.lines.length).toBe(REQUEST_BOUNDS.logLinesMax);
    expect(ring.logs(0, GENERATION + 1)).toBeNull();
  });

  test('never throws, whatever it holds', () => {
    expect(ring.post(0, GENERATION, REQUEST)).toBe('posted');
    const word = fc.integer({ min: 0, max: 0xffff_ffff });
    fc.assert(
      fc.property(word, word, fc.uint8Array({ maxLength: 400 }), (length, dropped, bytes) => {
        slot.set(bytes, partAt(PART.log));
        slot.writeUInt32LE(length, AT.logBytes);
        slot.writeUInt32LE(dropped, AT.logDropped);
        const lines = ring.logs(0, GENERATION)?.lines ?? [];
        expect(lines.length).toBeLessThanOrEqual(REQUEST_BOUNDS.logLinesMax);
      }),
    );
  });
});
