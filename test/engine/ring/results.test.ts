// What ended a request, a start, a worker or a compile, as codes of the error table.
import { describe, expect, test } from 'bun:test';
import type { GuestErrorCode } from '../../../src/base/errors.ts';
import { compileVerdict, exitFault, requestFault, startFault } from '../../../src/engine/ring/results.ts';
import { readHeader } from '../../tidy/header.ts';

const header = readHeader('ring.h');
const headerNumber = header.number;

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
    expect(requestFault(headerNumber(name), detail)).toEqual({ code, detail: text });
  });

  test('covers every fault of the header', () => {
    const named = [...(header.enums.get('edge_result') ?? []).keys()];
    expect(named.filter((name) => name !== 'EDGE_RESULT_ANSWER').sort()).toEqual(
      rows.map(([name]) => name).sort(),
    );
  });

  test.each([[0], [17], [4_294_967_295]])('that does not exist (%d) is a crashed worker', (result) => {
    expect(requestFault(result, 0)).toEqual({ code: 'guest_crashed', detail: null });
  });
});

describe('A start that failed', () => {
  test.each([
    ['EDGE_RESULT_TRAP_UNREACHABLE', 'guest_start_failed', 'the start function ended with trap_unreachable'],
    ['EDGE_RESULT_MEMORY_EXHAUSTED', 'guest_memory_exhausted', null],
    ['EDGE_RESULT_LOAD_FAILED', 'guest_start_failed', 'it could not be loaded: WasmEdge error 0x2'],
  ] as const)('by %s is %s', (name, code, detail) => {
    expect(startFault(headerNumber(name), 2)).toEqual({ code, detail });
  });
});

describe('A worker that ended by itself', () => {
  const guest = headerNumber('EDGE_PHASE_GUEST');
  const host = headerNumber('EDGE_PHASE_HOST');
  const exit = headerNumber;
  test.each([
    ['SIGSEGV in the guest', 1, 11, guest, 'guest_stack_exhausted', false],
    ['SIGBUS in the guest', 1, 7, guest, 'guest_stack_exhausted', false],
    ['SIGSEGV in the host', 1, 11, host, 'guest_crashed', false],
    ['SIGABRT', 1, 6, guest, 'guest_memory_exhausted', false],
    ['SIGSYS', 1, 31, guest, 'guest_crashed', false],
    ['SIGILL', 1, 4, guest, 'guest_crashed', false],
    ['SIGKILL from outside', 1, 9, guest, 'worker_lost', false],
    ['a failed start', 0, exit('EDGE_EXIT_START_FAILED'), host, 'guest_start_failed', false],
    ['a failed sandbox', 0, exit('EDGE_EXIT_SANDBOX_FAILED'), host, 'worker_lost', true],
    ['a broken protocol', 0, exit('EDGE_EXIT_PROTOCOL'), host, 'guest_crashed', true],
    ['a clean exit that nobody asked for', 0, exit('EDGE_EXIT_CLOSED'), host, 'worker_lost', false],
    ['an exit code of nobody', 0, 1, guest, 'guest_crashed', false],
    ['a fork that failed', 2, 11, host, 'worker_lost', true],
  ] as const)('by %s', (_, how, value, phase, code, isOurs) => {
    const detail = how === 1 ? `signal ${value}` : null;
    expect(exitFault({ how, value, phase })).toEqual({ code, detail, isOurs });
  });
});

describe('A compile child that ended', () => {
  test.each([
    [0, headerNumber('EDGE_COMPILE_DONE'), 'done'],
    [0, headerNumber('EDGE_COMPILE_REFUSED'), 'gave_up'],
    [0, headerNumber('EDGE_COMPILE_IO'), 'failed'],
    [0, headerNumber('EDGE_COMPILE_SANDBOX'), 'failed'],
    [0, 1, 'gave_up'],
    [1, 9, 'gave_up'],
    [1, 24, 'gave_up'],
    [1, 31, 'failed'],
    [2, 11, 'failed'],
  ] as const)('how %d, value %d: %s', (how, value, verdict) => {
    expect(compileVerdict({ how, value })).toBe(verdict);
  });
});
