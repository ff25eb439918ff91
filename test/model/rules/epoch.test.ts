// When a control plane begins a new epoch, and who follows it there.
import { describe, expect, test } from 'bun:test';
import { type Epochs, isFresh, judgeStart, succession } from '../../../src/model/rules/epoch.ts';

const epochs = (current: string | null, ended: [string, number][] = []): Epochs => ({
  current,
  ended: new Map(ended),
});

describe('A control plane that starts', () => {
  test.each([
    ['for the first time', epochs(null), 0, 0, null, 'first'],
    ['after an upgrade, with nodes', epochs(null), 9, 3, null, 'first'],
    ['with a backup of before the upgrade', epochs(null), 9, 3, { epoch: 'A', revision: 12 }, 'restored'],
    ['with a new database beside an old file', epochs(null), 0, 0, { epoch: 'A', revision: 12 }, 'first'],
    ['where it stopped', epochs('A'), 9, 3, { epoch: 'A', revision: 9 }, null],
    ['with changes that no node was sent', epochs('A'), 12, 3, { epoch: 'A', revision: 9 }, null],
    ['with a backup', epochs('A'), 8, 3, { epoch: 'A', revision: 9 }, 'restored'],
    ['with a backup of an earlier epoch', epochs('A'), 8, 3, { epoch: 'B', revision: 2 }, 'restored'],
    ['between a new epoch and its file', epochs('B', [['A', 9]]), 10, 3, { epoch: 'A', revision: 9 }, null],
    ['so, with a backup', epochs('B', [['A', 8]]), 10, 3, { epoch: 'A', revision: 9 }, 'restored'],
    ['without its file', epochs('A'), 9, 3, null, 'unmarked'],
    ['without its file, before any node has joined', epochs('A'), 9, 0, null, null],
  ] as const)('%s', (_, known, revision, nodes, mark, why) => {
    expect(judgeStart({ epochs: known, revision, nodes, mark })).toBe(why);
  });
});

test('Nodes follow from an epoch of this database up to where it ended, and from no other', () => {
  const known = epochs('C', [
    ['A', 9],
    ['X', -1],
  ]);
  expect(succession(known, 'A')).toEqual({ epoch: 'A', revision: 9 });
  for (const other of ['X', 'C', 'Y', null]) expect(succession(known, other)).toBeNull();
});

test('An epoch is fresh for a node that is in one that was left before, or in none', () => {
  const known = epochs('C', [
    ['A', 9],
    ['X', -1],
  ]);
  expect(['A', 'X', null, 'C', 'Y'].map((from) => isFresh(known, from))).toEqual([
    true,
    true,
    true,
    false,
    false,
  ]);
});
