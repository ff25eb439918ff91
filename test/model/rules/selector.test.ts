// Selectors match the nodes they should, refuse what they must, and never run for long.
import { describe, expect, test } from 'bun:test';
import { FUNCTION_BOUNDS } from '../../../src/base/limits/function.ts';
import { compileSelector, type SelectorNode } from '../../../src/model/rules/selector.ts';

const node: SelectorNode = {
  id: 'tokyo-1',
  pop_id: 'nrt',
  labels: { region: 'tokyo', latency_ms: 12, load: 0.5, gpu: true, pop_id: 'a label that hides nothing' },
};

function matches(source: string, on: SelectorNode = node): boolean {
  const outcome = compileSelector(source);
  if (!outcome.ok) throw new Error(outcome.message);
  return outcome.selector.matches(on);
}

function refusal(source: string): { message: string; start: number; end: number } {
  const outcome = compileSelector(source);
  if (outcome.ok) throw new Error(`${source} was accepted`);
  return { message: outcome.message, ...outcome.position };
}

describe('A selector', () => {
  test.each([
    ["region == 'tokyo' && latency_ms < 30", true],
    ["region == 'tokyo' && latency_ms < 12", false],
    ['latency_ms == 12', true],
    ['latency_ms < 12.5', true],
    ['latency_ms * 2 > 20', true],
    ['load <= 0.5', true],
    ['gpu', true],
    ['!gpu', false],
    ["region in ['osaka', 'tokyo']", true],
    ["region.startsWith('to') && size(region) == 5", true],
    ["node_id == 'tokyo-1'", true],
    ["pop_id == 'nrt'", true],
    ['true', true],
  ])('reads labels, node_id and pop_id: %s is %p', (source, expected) => {
    expect(matches(source)).toBe(expected);
  });

  test.each([
    "missing == 'x'",
    "missing != 'x'",
    "!(missing == 'x')",
    'region < 5',
    'region',
    "__proto == 'x'",
    "constructor != 'x'",
    "toString != 'x'",
  ])('is false on a node whose labels do not fit it: %s', (source) => {
    expect(matches(source)).toBe(false);
  });

  test('is true if one side of an `or` is, even if the other lacks its label', () => {
    expect(matches("missing == 'x' || region == 'tokyo'")).toBe(true);
  });
});

describe('A bad selector', () => {
  test.each([
    ['', 0],
    ['region ==', 9],
    ["region == 'tokyo' latency_ms", 18],
  ])('is refused with the position of the fault: %p at %p', (source, start) => {
    expect(refusal(source).start).toBe(start);
  });

  test.each(['1 + 2', 'node_id', "'tokyo'", 'node_id == 3', 'unknown(1)', 'true ? 1 : 2'])(
    'is refused for its types before it is applied to a node: %s',
    (source) => {
      expect(refusal(source).message.length).toBeGreaterThan(5);
    },
  );

  test.each([
    "region.matches('(a+)+$')",
    '[1, 2].exists(x, x == 1)',
    '[1].all(x, x == 1)',
    'timestamp(0) == timestamp(0)',
    "b'{}'.json() == 1",
    'cel.bind(x, 1, x == 1)',
  ])('may not call functions of unbounded cost: %s', (source) => {
    expect(refusal(source).message).toContain('not offered');
  });

  test('is refused for its length before it is parsed', () => {
    const long = `region == '${'x'.repeat(FUNCTION_BOUNDS.selectorLengthMax)}'`;
    expect(refusal(long)).toMatchObject({ start: FUNCTION_BOUNDS.selectorLengthMax, end: long.length });
  });

  test.each([
    '!'.repeat(900),
    '('.repeat(900),
    '['.repeat(900),
    '-'.repeat(900),
    'a?'.repeat(400),
    'a.'.repeat(490),
  ])('is refused if it nests too deeply', (source) => {
    expect(compileSelector(source).ok).toBe(false);
  });
});
