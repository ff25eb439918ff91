// What the exit of a compile child says about its module.
import { describe, expect, test } from 'bun:test';
import { COMPILE_BOUNDS } from '../../../src/base/limits/compile.ts';
import { compileVerdict, createAborts } from '../../../src/engine/code/verdict.ts';
import { readHeader } from '../../tidy/header.ts';

const headerNumber = readHeader('ring.h').number;

describe('A compile child that ended', () => {
  test.each([
    ['exited', headerNumber('EDGE_COMPILE_DONE'), 'done'],
    ['exited', headerNumber('EDGE_COMPILE_REFUSED'), 'gave_up'],
    ['exited', headerNumber('EDGE_COMPILE_IO'), 'failed'],
    ['exited', headerNumber('EDGE_COMPILE_SANDBOX'), 'failed'],
    ['exited', headerNumber('EDGE_COMPILE_LIMIT'), 'gave_up'],
    ['exited', 1, 'gave_up'],
    ['exited', headerNumber('EDGE_COMPILE_ABORTED'), 'aborted'],
    ['signalled', 6, 'gave_up'],
    ['signalled', 11, 'gave_up'],
    ['signalled', 24, 'gave_up'],
    ['signalled', 7, 'failed'],
    ['signalled', 9, 'failed'],
    ['signalled', 31, 'failed'],
    ['not_forked', 11, 'failed'],
  ] as const)('%s with %d: %s', (how, value, verdict) => {
    expect(compileVerdict({ how, value })).toBe(verdict);
  });
});

test('A module that the compiler aborts is tried again ever more rarely, and a bounded number of times', () => {
  const aborts = createAborts();
  let nowMs = 0;
  for (let times = 1; times < COMPILE_BOUNDS.abortsMax; times += 1) {
    expect([aborts.mayTry('a', nowMs), aborts.mayTry('b', nowMs)]).toEqual(['yes', 'yes']);
    expect(aborts.count('a', nowMs)).toBe(times);
    nowMs += COMPILE_BOUNDS.abortPauseMs * 2 ** (times - 1);
    expect(aborts.mayTry('a', nowMs - 1)).toBe('wait');
  }
  aborts.count('a', nowMs);
  expect([aborts.mayTry('a', nowMs * 1_000), aborts.mayTry('b', nowMs)]).toEqual(['gave_up', 'yes']);
});
