// What ended a request or a start, as codes of the error table.
import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import type { GuestErrorCode } from '../../../src/base/errors.ts';
import { type FaultWords, REFUSAL, requestFault, startFault } from '../../../src/engine/ring/results.ts';
import { readHeader } from '../../tidy/header.ts';

const header = readHeader('ring.h');
const headerNumber = header.number;

const words = (detail: number, subject = '', status = 0): FaultWords => ({ detail, subject, status });

describe('The result of a request', () => {
  const rows: [name: string, detail: number, code: GuestErrorCode, text: string | null][] = [
    ['EDGE_RESULT_TRAP_UNREACHABLE', 0, 'trap_unreachable', null],
    ['EDGE_RESULT_TRAP_OUT_OF_BOUNDS', 0, 'trap_out_of_bounds', null],
    ['EDGE_RESULT_TRAP_ARITHMETIC', 0, 'trap_arithmetic', null],
    ['EDGE_RESULT_TRAP_INDIRECT_CALL', 0, 'trap_indirect_call', null],
    ['EDGE_RESULT_TRAP_OTHER', 0x89, 'guest_trap', 'WasmEdge error 0x89'],
    ['EDGE_RESULT_GUEST_ERROR', -7, 'guest_error', 'it answered -7'],
    ['EDGE_RESULT_BAD_POINTER', 0, 'guest_bad_pointer', null],
    ['EDGE_RESULT_RESPONSE_LENGTH', 99, 'response_length_invalid', 'it answered 99 bytes'],
    ['EDGE_RESULT_RESPONSE_TOO_LARGE', 0, 'response_too_large', null],
    ['EDGE_RESULT_INVALID_RESPONSE', 0, 'invalid_guest_response', null],
    ['EDGE_RESULT_HOST_CALL_LIMIT', 0, 'host_call_limit', null],
    ['EDGE_RESULT_WASI_DENIED', 0, 'wasi_denied', null],
    ['EDGE_RESULT_EXITED', 3, 'guest_exited', 'exit code 3'],
    ['EDGE_RESULT_MEMORY_EXHAUSTED', 0, 'guest_memory_exhausted', null],
    ['EDGE_RESULT_LOAD_FAILED', 1, 'guest_start_failed', 'it could not be loaded: WasmEdge error 0x1'],
    [
      'EDGE_RESULT_INSTANTIATE_FAILED',
      1,
      'guest_start_failed',
      'it could not be instantiated: WasmEdge error 0x1',
    ],
  ];
  test.each(rows)('%s with %d is %s', (name, detail, code, text) => {
    expect(requestFault(headerNumber(name), words(detail))).toEqual({ code, detail: text });
  });

  test('covers every fault of the header', () => {
    const named = [...(header.enums.get('edge_result') ?? new Map<string, number>()).keys()];
    expect(named.filter((name) => name !== 'EDGE_RESULT_ANSWER').sort()).toEqual(
      rows.map(([name]) => name).sort(),
    );
  });

  test.each([[0], [17], [4_294_967_295]])('that does not exist (%d) is a crashed worker', (result) => {
    expect(requestFault(result, words(0))).toEqual({ code: 'guest_crashed', detail: null });
  });
});

describe('What the log says of a fault', () => {
  const denied = headerNumber('EDGE_RESULT_WASI_DENIED');
  const invalid = headerNumber('EDGE_RESULT_INVALID_RESPONSE');

  test.each([
    ['sock_open', 'it called sock_open'],
    ['', null],
    ['path_open\n{"level":"error"}', null],
    ['x'.repeat(65), null],
  ])('names a WASI function, and nothing else that a worker wrote: %j', (subject, detail) => {
    expect(requestFault(denied, words(0, subject))).toEqual({ code: 'wasi_denied', detail });
  });

  test.each([
    ['a status', words(REFUSAL.status, '', 700), 'status 700 is outside 200 to 599'],
    ['a negative status', words(REFUSAL.status, '', 0xffff_ffff), 'status -1 is outside 200 to 599'],
    ['a status that is right', words(REFUSAL.status, '', 200), null],
    [
      'a name',
      words(REFUSAL.header, 'a b'),
      'header name "a b" is not a token: use letters, digits and hyphens',
    ],
    [
      'a forbidden name',
      words(REFUSAL.header, 'X-Accel-Limit-Rate'),
      'header "x-accel-limit-rate" gives orders to a proxy: remove it',
    ],
    [
      'a value',
      words(REFUSAL.header, 'x-a'),
      'the value of header "x-a" has a control character or blanks around it: send one trimmed line',
    ],
    [
      'room',
      words(REFUSAL.room, 'x-a'),
      'header "x-a" does not fit: all headers together may have 32768 bytes',
    ],
    ['a length', words(REFUSAL.length), 'response_header was called with a negative length'],
    ['a reason that is not there', words(99, 'x-a'), null],
  ])('names what an answer may not have: %s', (_, given, detail) => {
    expect(requestFault(invalid, given)).toEqual({ code: 'invalid_guest_response', detail });
  });

  test('is one printable line, whatever a worker wrote', () => {
    fc.assert(
      fc.property(
        fc.nat(20),
        fc.nat(5),
        fc.string({ unit: 'binary', maxLength: 256 }),
        (result, detail, subject) => {
          const fault = requestFault(result, words(detail, subject));
          expect(fault.detail ?? '').not.toMatch(/[\0-\x1f]/);
        },
      ),
    );
  });
});

describe('A start that failed', () => {
  test.each([
    ['EDGE_RESULT_TRAP_UNREACHABLE', 'guest_start_failed', 'the start function ended with trap_unreachable'],
    ['EDGE_RESULT_MEMORY_EXHAUSTED', 'guest_memory_exhausted', null],
    ['EDGE_RESULT_LOAD_FAILED', 'guest_start_failed', 'it could not be loaded: WasmEdge error 0x2'],
  ] as const)('by %s is %s', (name, code, detail) => {
    expect(startFault(headerNumber(name), words(2))).toEqual({ code, detail });
  });

  test('names the WASI function that ended it', () => {
    const { detail } = startFault(headerNumber('EDGE_RESULT_WASI_DENIED'), words(0, 'path_open'));
    expect(detail).toBe('the start function ended with wasi_denied: it called path_open');
  });
});
