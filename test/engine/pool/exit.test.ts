// What it means that a worker ended by itself, as codes of the error table.
import { describe, expect, test } from 'bun:test';
import { exitFault } from '../../../src/engine/pool/exit.ts';
import { readHeader } from '../../tidy/header.ts';

const headerNumber = readHeader('ring.h').number;

describe('A worker that ended by itself', () => {
  const guest = true;
  const host = false;
  const exit = headerNumber;
  test.each([
    ['SIGSEGV in the guest', 'signalled', 11, guest, 'guest_stack_exhausted', false],
    ['SIGBUS in the guest', 'signalled', 7, guest, 'guest_stack_exhausted', false],
    ['SIGSEGV in the host', 'signalled', 11, host, 'guest_crashed', false],
    ['SIGABRT', 'signalled', 6, guest, 'guest_memory_exhausted', false],
    ['SIGSYS', 'signalled', 31, guest, 'guest_crashed', false],
    ['SIGILL', 'signalled', 4, guest, 'guest_crashed', false],
    ['SIGKILL from outside', 'signalled', 9, guest, 'worker_lost', false],
    ['a failed start', 'exited', exit('EDGE_EXIT_START_FAILED'), host, 'guest_start_failed', false],
    ['a failed sandbox', 'exited', exit('EDGE_EXIT_SANDBOX_FAILED'), host, 'worker_lost', true],
    ['a broken protocol', 'exited', exit('EDGE_EXIT_PROTOCOL'), host, 'guest_crashed', true],
    ['a clean exit that nobody asked for', 'exited', exit('EDGE_EXIT_CLOSED'), host, 'worker_lost', false],
    ['an exit code of nobody', 'exited', 1, guest, 'guest_crashed', false],
    ['a fork that failed', 'not_forked', 11, host, 'worker_lost', true],
  ] as const)('by %s', (_, how, value, isInGuest, code, isOurs) => {
    const detail = how === 'signalled' ? `signal ${value}` : null;
    expect(exitFault({ how, value }, isInGuest)).toEqual({ code, detail, isOurs });
  });
});
