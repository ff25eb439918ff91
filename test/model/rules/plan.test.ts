// The steps from actual to desired state as a table.
import { describe, expect, test } from 'bun:test';
import { defaultVersionSettings } from '../../../src/model/function.ts';
import type { ActualFunction, Stage, Step } from '../../../src/model/rules/plan.ts';
import { plan, planFunction, routesKey, versionKey } from '../../../src/model/rules/plan.ts';
import type { DesiredFunction } from '../../../src/model/protocol.ts';

const desired = (version: string, more: Partial<DesiredFunction> = {}): DesiredFunction => ({
  function_id: 'fn_00000000000000000000000001',
  project_id: 'p',
  name: 'f',
  version,
  artifact_url: '/a',
  sha256: version.replaceAll('.', '').padEnd(64, '0'),
  size_bytes: 8,
  settings: defaultVersionSettings,
  routes: [{ host: '*', path: '/f', methods: [], priority: 0 }],
  ...more,
});

const one = desired('1.0.0');
const two = desired('2.0.0');
const nothing: ActualFunction = { serving: null, candidate: null, retired: 0, isStored: false };
const serves = (what: DesiredFunction): ActualFunction => ({
  ...nothing,
  serving: { key: versionKey(what), routesKey: routesKey(what) },
  isStored: true,
});
const comes = (what: DesiredFunction, stage: Stage): ActualFunction['candidate'] => ({
  key: versionKey(what),
  stage,
});

describe('What is left to do for a function', () => {
  const moved = desired('1.0.0', { routes: [] });
  const slower = desired('1.0.0', { settings: { ...defaultVersionSettings, max_execution_ms: 9 } });
  const table: [name: string, desired: DesiredFunction | null, actual: ActualFunction, steps: Step[]][] = [
    ['that is new', one, nothing, ['pull', 'prepare', 'open', 'switch']],
    ['that runs as it should', one, serves(one), []],
    ['with a new version', two, serves(one), ['pull', 'prepare', 'open', 'switch', 'drain']],
    ['with other settings', slower, serves(one), ['pull', 'prepare', 'open', 'switch', 'drain']],
    ['with other routes only', moved, serves(one), ['switch']],
    ['that is gone', null, serves(one), ['switch', 'drain', 'evict']],
    ['that is gone and only stored', null, { ...nothing, isStored: true }, ['evict']],
    ['that never was', null, nothing, []],
    [
      'on its way, pulled',
      one,
      { ...nothing, candidate: comes(one, 'pulled') },
      ['prepare', 'open', 'switch'],
    ],
    ['on its way, prepared', one, { ...nothing, candidate: comes(one, 'prepared') }, ['open', 'switch']],
    ['on its way, open', one, { ...nothing, candidate: comes(one, 'open') }, ['switch']],
    [
      'that changed its mind on the way',
      two,
      { ...nothing, candidate: comes(one, 'open') },
      ['discard', 'pull', 'prepare', 'open', 'switch'],
    ],
    ['that went back on the way', one, { ...serves(one), candidate: comes(two, 'open') }, ['discard']],
    [
      'that is gone on the way',
      null,
      { ...serves(one), candidate: comes(two, 'open') },
      ['discard', 'switch', 'drain', 'evict'],
    ],
    ['with a pool that was replaced', two, { ...serves(two), retired: 1 }, ['drain']],
  ];
  for (const [name, wanted, actual, steps] of table) {
    test(name, () => expect(planFunction(wanted, actual)).toEqual(steps));
  }

  test('breaks nothing before its successor is switched in', () => {
    for (const [, wanted, actual] of table) {
      const steps = planFunction(wanted, actual);
      if (wanted === null || !steps.includes('drain') || !steps.includes('switch')) continue;
      expect(steps.indexOf('switch')).toBeLessThan(steps.indexOf('drain'));
      expect(steps.indexOf('open')).toBeLessThan(steps.indexOf('switch'));
    }
  });
});

describe('The plan of a node', () => {
  test('names only functions with something to do, and those that nobody wants any more', () => {
    const wanted = new Map([
      ['a', one],
      ['b', two],
    ]);
    const actual = new Map([
      ['a', serves(one)],
      ['c', serves(one)],
    ]);
    const steps = plan(wanted, actual);
    expect([...steps.keys()]).toEqual(['b', 'c']);
    expect(steps.get('c')).toEqual(['switch', 'drain', 'evict']);
  });
});
