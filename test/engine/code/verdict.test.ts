// What the exit of a compile child says about its module.
import { describe, expect, test } from 'bun:test';
import { compileVerdict } from '../../../src/engine/code/verdict.ts';
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
