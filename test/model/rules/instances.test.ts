// Two processes with one identity: which sequence of heartbeats shows them, and which does not.
import { describe, expect, test } from 'bun:test';
import { type HeardInstance, hearInstance, rivalsOf } from '../../../src/model/rules/instances.ts';

const FORGET_MS = 100;

/** Hears processes by letter, ten milliseconds apart: `-` is a pause of 100, a small letter ends its process. */
function hear(sequence: string): string[] {
  let known: HeardInstance[] = [];
  let nowMs = 0;
  for (const letter of sequence) {
    nowMs += letter === '-' ? FORGET_MS : 10;
    if (letter === '-') continue;
    const id = letter.toUpperCase();
    const heard = { id, host: `host-${id}`, isEnding: letter !== id };
    known = hearInstance(known, heard, { nowMs, forgetMs: FORGET_MS });
  }
  return rivalsOf(known).map(({ id }) => id);
}

describe('The processes of a node', () => {
  test.each([
    ['one process', 'AAAA', []],
    ['a restart', 'AAABBB', []],
    ['many restarts', 'ABCDEFGHIJKLABCD', []],
    ['a report of the process before that arrives late', 'AABAB', []],
    ['two that take turns', 'ABABAB', ['B', 'A']],
    ['two that take turns, of which one ended', 'ABABABa', []],
    ['two that took turns, of which one is gone for long', 'ABABAB-B', []],
    ['three that take turns', 'ABCABCABC', ['C', 'B', 'A']],
    ['two that take turns, of which one restarts', 'ABABABCACAC', ['C', 'A', 'B']],
  ])('%s', (_, sequence, rivals) => {
    expect(hear(sequence)).toEqual(rivals);
  });
});
