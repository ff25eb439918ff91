// Selectors match the nodes they should, refuse what they must, and never run for long.
import { describe, expect, test } from 'bun:test';
import { FUNCTION_BOUNDS } from '../../../src/base/limits/function.ts';
import { compileSelector, type SelectorNode } from '../../../src/model/target/selector.ts';
import { knownLabels } from '../../../src/model/target/selector_labels.ts';
import { canonicalSelector } from '../../../src/model/target/selector_words.ts';

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

describe('The words and, or and not', () => {
  test.each([
    ["region == 'tokyo' and latency_ms < 30", true],
    ["region == 'oslo' or gpu", true],
    ["not region == 'oslo'", true],
    ["not region == 'tokyo'", false],
    ["not region == 'oslo' and not gpu", false],
    ["not (region == 'oslo' or gpu) or latency_ms == 12", true],
    ['not not gpu', true],
    ['NOT gpu OR gpu AND gpu', true],
    ["region == 'and'", false],
    ["region != 'not or and'", true],
    ["region in ['or', 'tokyo'] and (not gpu or true)", true],
  ])('mean what a person reads: %s is %p', (source, expected) => {
    expect(matches(source)).toBe(expected);
  });

  test('keep positions those of the text that was given', () => {
    expect(refusal("not gpu and region == 'x' and node_id == 3").start).toBe(30);
    expect(refusal('not gpu and not region ==').start).toBe(25);
  });

  test('are the same selector as their operators, and white space does not count', () => {
    const same = canonicalSelector("region=='a b' && !gpu || load<1");
    expect(canonicalSelector(" region  ==  'a b' and !gpu  OR load < 1 ")).toBe(same);
    expect(canonicalSelector("region=='a  b' && !gpu || load<1")).not.toBe(same);
  });
});

describe('A selector that is checked against the labels of the nodes', () => {
  const osaka: SelectorNode = { id: 'osaka-1', pop_id: 'kix', labels: { region: 'osaka', latency_ms: 7 } };
  const known = knownLabels([node, osaka]);
  const checked = (source: string) => {
    const outcome = compileSelector(source, known);
    return outcome.ok ? null : { message: outcome.message, ...outcome.position };
  };

  test.each([
    "region == 'tokyo' and latency_ms < 30",
    'latency_ms < 12.5 and load < 1',
    'latency_ms == 12.0',
    'load * 2 > 1',
    'gpu',
    "region in ['osaka', 'tokyo']",
    "pop_id == 'nrt' or node_id.startsWith('osaka')",
  ])('is taken where every name is known and fits: %s', (source) => {
    expect(checked(source)).toBeNull();
  });

  test.each([
    ["regoin == 'tokyo'", 0, 'did you mean region?'],
    ["gpu and regoin == 'tokyo'", 8, 'did you mean region?'],
    ['region == tokyo', 10, "did you mean the text 'tokyo'?"],
    ["pop == 'nrt'", 0, 'nodes have gpu (true)'],
    ["latncy_ms < 30 or region == 'tokyo'", 0, 'did you mean latency_ms?'],
    [
      "not gpu and latency_ms == 'low'",
      12,
      'The label "latency_ms" is a number, such as 12, and does not fit here (int == string).',
    ],
    ['region == 5', 0, 'The label "region" is text, such as tokyo, and does not fit'],
    ["gpu == 'true'", 0, 'The label "gpu" is true or false'],
    ['region', 0, 'must be true or false'],
    ["region in ['tokyo'] and load.contains('x')", 24, 'The label "load" is a number'],
  ])('is refused with position and suggestion: %s', (source, start, part) => {
    const refused = checked(source);
    expect(refused?.message).toContain(part);
    expect(refused?.start).toBe(start);
  });

  test('says that there is no node where there is none', () => {
    const outcome = compileSelector("region == 'tokyo'", knownLabels([]));
    expect(outcome).toMatchObject({ ok: false, message: expect.stringContaining('no node has joined') });
  });

  test('stays quick whatever names it has', () => {
    const many = Array.from({ length: 60 }, (_, at) => [`l${at}`, at] as const);
    const all = knownLabels([{ ...node, labels: Object.fromEntries(many) }]);
    const source = many.map(([name]) => `${name} < 60`).join(' or ');
    expect(compileSelector(source, all).ok).toBe(true);
  });
});
