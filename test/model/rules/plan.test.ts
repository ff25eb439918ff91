// The steps from actual to desired state, as a table.
import { describe, expect, test } from 'bun:test';
import { defaultVersionSettings } from '../../../src/model/function.ts';
import type { ActualFunction, Stage, Step } from '../../../src/model/rules/plan.ts';
import { plan, routesKey, versionKey } from '../../../src/model/rules/plan.ts';
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
  serving: { key: versionKey(what), routesKey: routesKey(what), isRecompiled: false },
  isStored: true,
});
const standIn = (what: DesiredFunction): ActualFunction => ({
  ...nothing,
  serving: { key: versionKey(what), routesKey: routesKey(what), isRecompiled: true },
  isStored: true,
});
const candidate = (what: DesiredFunction, stage: Stage): ActualFunction['candidate'] => ({
  key: versionKey(what),
  stage,
});

describe('The plan for a function', () => {
  const moved = desired('1.0.0', { routes: [] });
  const slower = desired('1.0.0', { settings: { ...defaultVersionSettings, max_execution_ms: 9 } });
  const table: [name: string, desired: DesiredFunction | null, actual: ActualFunction, steps: Step[]][] = [
    ['that is new', one, nothing, ['pull', 'prepare', 'open', 'switch']],
    ['that runs as desired', one, serves(one), []],
    ['with a new version', two, serves(one), ['pull', 'prepare', 'open', 'switch', 'drain']],
    ['with other settings', slower, serves(one), ['pull', 'prepare', 'open', 'switch', 'drain']],
    ['with other routes only', moved, serves(one), ['switch']],
    ['whose compile is due', one, standIn(one), ['pull', 'prepare', 'open', 'switch', 'drain']],
    [
      'whose compile is due, with other routes',
      moved,
      standIn(one),
      ['switch', 'pull', 'prepare', 'open', 'switch', 'drain'],
    ],
    [
      'whose compile is due and has begun',
      one,
      { ...standIn(one), candidate: candidate(one, 'pulled') },
      ['prepare', 'open', 'switch', 'drain'],
    ],
    ['that is undeployed', null, serves(one), ['switch', 'drain', 'evict']],
    ['that is undeployed and only stored', null, { ...nothing, isStored: true }, ['evict']],
    ['that is neither desired nor known', null, nothing, []],
    [
      'whose artifact is pulled',
      one,
      { ...nothing, candidate: candidate(one, 'pulled') },
      ['prepare', 'open', 'switch'],
    ],
    [
      'whose code is prepared',
      one,
      { ...nothing, candidate: candidate(one, 'prepared') },
      ['open', 'switch'],
    ],
    ['whose pool is open', one, { ...nothing, candidate: candidate(one, 'open') }, ['switch']],
    [
      'whose desired version changes on the way',
      two,
      { ...nothing, candidate: candidate(one, 'open') },
      ['discard', 'pull', 'prepare', 'open', 'switch'],
    ],
    [
      'whose desired version changes back on the way',
      one,
      { ...serves(one), candidate: candidate(two, 'open') },
      ['discard'],
    ],
    [
      'that is undeployed on the way',
      null,
      { ...serves(one), candidate: candidate(two, 'open') },
      ['discard', 'switch', 'drain', 'evict'],
    ],
    ['with a retired pool', two, { ...serves(two), retired: 1 }, ['drain']],
  ];
  for (const [name, wanted, actual, steps] of table) {
    test(name, () => expect(plan(wanted, actual)).toEqual(steps));
  }

  test('drains nothing before its successor is switched in', () => {
    for (const [, wanted, actual] of table) {
      const steps = plan(wanted, actual);
      if (wanted === null || !steps.includes('drain') || !steps.includes('switch')) continue;
      expect(steps.lastIndexOf('switch')).toBeLessThan(steps.indexOf('drain'));
      expect(steps.indexOf('open')).toBeLessThan(steps.lastIndexOf('switch'));
    }
  });
});
