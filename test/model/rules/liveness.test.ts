// The liveness rule: which silence counts, and when the control plane suspects itself.
import { describe, expect, test } from 'bun:test';
import { judgeLiveness, type NodeSilence } from '../../../src/model/rules/liveness.ts';

const options = { offlineMs: 120_000, brakePercent: 55, brakeNodesMin: 3, brakeMs: 600_000 };

function fleet(silences: readonly number[], status: NodeSilence['status'] = 'online'): NodeSilence[] {
  return silences.map((silentMs, index) => ({ id: `n${index}`, status, silentMs }));
}

const fresh = 1_000;
const silent = 120_000;

describe('The liveness rule', () => {
  test.each([
    ['a node that just sent a heartbeat', fleet([fresh]), { offline: [], unmarked: [] }],
    ['a node that is silent for offlineMs', fleet([silent]), { offline: ['n0'], unmarked: [] }],
    ['a node one millisecond before that', fleet([silent - 1]), { offline: [], unmarked: [] }],
    ['a degraded node', fleet([silent], 'degraded'), { offline: ['n0'], unmarked: [] }],
    ['a node that is offline already', fleet([600_000], 'offline'), { offline: [], unmarked: [] }],
    ['two silent nodes of two', fleet([silent, silent]), { offline: ['n0', 'n1'], unmarked: [] }],
    [
      'three silent nodes of three',
      fleet([silent, silent, silent]),
      { offline: [], unmarked: ['n0', 'n1', 'n2'] },
    ],
    [
      'three silent nodes of three, of which two are gone for the time of the brake',
      fleet([600_000, 599_999, 600_000]),
      { offline: ['n0', 'n2'], unmarked: ['n1'] },
    ],
    [
      'exactly the share of the brake',
      fleet([...Array<number>(11).fill(silent), ...Array<number>(9).fill(fresh)]),
      { offline: Array.from({ length: 11 }, (_, index) => `n${index}`), unmarked: [] },
    ],
    [
      'one more than the share of the brake',
      fleet([...Array<number>(12).fill(silent), ...Array<number>(8).fill(fresh)]),
      { offline: [], unmarked: Array.from({ length: 12 }, (_, index) => `n${index}`) },
    ],
  ])('judges %s', (_, nodes, expected) => {
    expect(judgeLiveness(nodes, options)).toEqual(expected);
  });

  test('takes the share of the brake from the nodes that are not offline yet', () => {
    const nodes = [
      ...fleet([silent, silent, silent, fresh]),
      ...fleet(Array<number>(20).fill(600_000), 'offline'),
    ];
    expect(judgeLiveness(nodes, options)).toEqual({ offline: [], unmarked: ['n0', 'n1', 'n2'] });
  });
});
