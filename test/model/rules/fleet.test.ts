// The desired states of a fleet: the rule after any sequence of changes, and which nodes a change touches.
import { describe, expect, test } from 'bun:test';
import * as fc from 'fast-check';
import { defaultVersionSettings } from '../../../src/model/function.ts';
import {
  type ActiveDeployment,
  afterDecision,
  decideDeploy,
  decideRollback,
} from '../../../src/model/rules/deploy.ts';
import type { FunctionFacts } from '../../../src/model/rules/desired.ts';
import { Fleet } from '../../../src/model/rules/fleet.ts';
import {
  EVERY_NODE,
  matchTarget,
  type NodeFact,
  type Target,
  targetKey,
} from '../../../src/model/target/target.ts';

const VERSIONS = ['1.0.0', '1.1.0', '2.0.0'];
const idOf = (at: number): string => `fn_${String(at).padStart(26, '0')}`;

const NODES: NodeFact[] = ['nrt', 'kix', 'fra', 'cdg', 'lhr'].flatMap((pop_id, at) => [
  { id: `${pop_id}-1`, pop_id, labels: { region: at < 2 ? 'asia' : 'europe', disk: at * 10 } },
  { id: `${pop_id}-2`, pop_id, labels: { region: at < 2 ? 'asia' : 'europe', spare: true } },
]);

const TARGETS: Target[] = [
  EVERY_NODE,
  ...['nrt', 'fra', 'lhr'].map((pop) => ({ pop_selector: null, target_pop: [pop] })),
  { pop_selector: null, target_pop: ['kix', 'cdg'] },
  { pop_selector: "region == 'asia'", target_pop: null },
  { pop_selector: 'spare and not disk > 5', target_pop: null },
  { pop_selector: "region == 'europe'", target_pop: ['fra', 'nrt'] },
];

/** One function as a list of rules, the newest first: what the state of the fleet is compared with. */
type Rule = { key: string; target: Target; version: string };
type Ruled = { rules: Rule[] };

type Step =
  | { kind: 'deploy'; fn: number; target: Target; version: string }
  | { kind: 'move'; fn: number; version: string }
  | { kind: 'end'; fn: number; at: number }
  | { kind: 'undeploy'; fn: number }
  | { kind: 'label'; node: number; region: string };

const anyFunction = fc.integer({ min: 0, max: 2 });
const anyVersion = fc.constantFrom(...VERSIONS);
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('deploy' as const),
      fn: anyFunction,
      target: fc.constantFrom(...TARGETS),
      version: anyVersion,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('move' as const), fn: anyFunction, version: anyVersion }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('end' as const), fn: anyFunction, at: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('undeploy' as const), fn: anyFunction }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('label' as const),
      node: fc.nat(NODES.length - 1),
      region: fc.constantFrom('asia', 'europe'),
    }),
  },
);

/** The specification, written without ranks: a list that deploys put rules in front of. */
function follow(state: Ruled, step: Exclude<Step, { kind: 'label' }>): void {
  if (step.kind === 'deploy') {
    const key = targetKey(step.target);
    const kept = key === targetKey(EVERY_NODE) ? [] : state.rules.filter((rule) => rule.key !== key);
    state.rules = [{ key, target: step.target, version: step.version }, ...kept];
  } else if (step.kind === 'move') {
    const moved = state.rules.map((rule) => ({ ...rule, version: step.version }));
    const every = { key: targetKey(EVERY_NODE), target: EVERY_NODE, version: step.version };
    state.rules = moved.length === 0 ? [every] : moved;
  } else if (step.kind === 'end') state.rules = state.rules.filter((_, at) => at !== step.at);
  else state.rules = [];
}

/** The program under test: the rules of deploy, and the fleet. */
function createWorld(): { apply(step: Step): void; fleet: Fleet; nodes: NodeFact[] } {
  const fleet = new Fleet();
  const active = [0, 1, 2].map((): ActiveDeployment[] => []);
  let nodes = NODES;
  let revision = 1;
  const factsOf = (fn: number): FunctionFacts => ({
    id: idOf(fn),
    project_id: 'default',
    name: `f${fn}`,
    deployments: active[fn] ?? [],
    versions: VERSIONS.map((version) => {
      return { version, settings: defaultVersionSettings, sha256: 'a'.repeat(64), size_bytes: 8 };
    }),
    routes: [],
  });
  fleet.update({ revision, functions: [0, 1, 2].map(factsOf), nodes, deployed: null });
  const decide = (held: ActiveDeployment[], step: Step): ActiveDeployment[] => {
    if (step.kind === 'undeploy') return [];
    if (step.kind === 'end') return held.filter((_, at) => at !== step.at);
    if (step.kind === 'label') return held;
    const target = step.kind === 'deploy' ? step.target : null;
    const wanted = { version: step.version, target, fallback: EVERY_NODE, nodes, last: null };
    const after = afterDecision(held, decideDeploy(held, wanted), revision);
    return after.map((one, at) => (one.id === '' ? { ...one, id: `dep_${revision}_${at}` } : one));
  };
  return {
    fleet,
    get nodes() {
      return nodes;
    },
    apply(step) {
      revision += 1;
      if (step.kind === 'label') {
        nodes = nodes.map((node, at) => {
          return at === step.node ? { ...node, labels: { ...node.labels, region: step.region } } : node;
        });
        fleet.update({ revision, functions: [], nodes, deployed: null });
        return;
      }
      active[step.fn] = decide(active[step.fn] ?? [], step);
      fleet.update({ revision, functions: [factsOf(step.fn)], nodes: null, deployed: null });
    },
  };
}

function versionsOf(fleet: Fleet, nodeId: string): string[] {
  const functions = fleet.desiredOf(nodeId)?.set.desired.functions ?? [];
  return functions.map((one) => `${one.name} ${one.version}`);
}

describe('After any sequence of deploys, moves, ends, undeploys and labels', () => {
  test('each node runs the version of the newest active deployment that matches it, and no other node moves', () => {
    const property = fc.property(fc.array(anyStep, { maxLength: 30, size: 'max' }), (steps) => {
      const world = createWorld();
      const specified = [0, 1, 2].map((): Ruled => ({ rules: [] }));
      for (const step of steps) {
        const before = new Map(world.nodes.map(({ id }) => [id, world.fleet.desiredOf(id)]));
        const kept = new Map([...before].map(([id, held]) => [id, held?.set.digest]));
        const revisions = new Map([...before].map(([id, held]) => [id, held?.revision]));
        const state = step.kind === 'label' ? undefined : specified[step.fn];
        if (step.kind !== 'label' && state !== undefined) follow(state, step);
        world.apply(step);
        for (const node of world.nodes) {
          const expected = specified.flatMap(({ rules }, fn) => {
            const rule = rules.find((one) => matchTarget(one.target)(node));
            return rule === undefined ? [] : [`f${fn} ${rule.version}`];
          });
          expect(versionsOf(world.fleet, node.id)).toEqual(expected);
          const after = world.fleet.desiredOf(node.id);
          const hasMoved = after?.set.digest !== kept.get(node.id);
          expect(after?.revision === revisions.get(node.id)).toBe(!hasMoved);
        }
      }
    });
    fc.assert(property, { numRuns: 200 });
  });
});

describe('A fleet', () => {
  const facts = (fn: number, version: string, target: Target = EVERY_NODE): FunctionFacts => ({
    id: idOf(fn),
    project_id: 'default',
    name: `f${fn}`,
    deployments: [{ id: `dep_${fn}`, version, rank: 1, ...target }],
    versions: VERSIONS.map((one) => {
      return { version: one, settings: defaultVersionSettings, sha256: 'a'.repeat(64), size_bytes: 8 };
    }),
    routes: [],
  });
  const open = (functions: FunctionFacts[]): Fleet => {
    const fleet = new Fleet();
    fleet.update({ revision: 1, functions, nodes: NODES, deployed: null });
    return fleet;
  };

  test('gives nodes with the same functions one set', () => {
    const fleet = open([facts(0, '1.0.0'), facts(1, '1.0.0', { pop_selector: null, target_pop: ['nrt'] })]);
    const setOf = (id: string) => fleet.desiredOf(id)?.set;
    expect(setOf('fra-1')).toBe(setOf('lhr-2'));
    expect(setOf('nrt-1')).toBe(setOf('nrt-2'));
    expect(setOf('nrt-1')).not.toBe(setOf('fra-1'));
  });

  test('knows on which nodes a deployment decides, and which its target matches', () => {
    const fleet = new Fleet();
    const [every, nrt] = [facts(0, '1.0.0'), { id: 'dep_nrt', version: '2.0.0', rank: 2 }];
    const deployments = [...every.deployments, { ...nrt, pop_selector: null, target_pop: ['nrt'] }];
    fleet.update({ revision: 1, functions: [{ ...every, deployments }], nodes: NODES, deployed: null });
    const reach = (id: string) => {
      const { nodes, matched } = fleet.reachOf({ id, function_id: idOf(0) });
      return [nodes.length, matched];
    };
    expect(reach('dep_0')).toEqual([NODES.length - 2, NODES.length]);
    expect(reach('dep_nrt')).toEqual([2, 2]);
    expect(reach('dep_x')).toEqual([0, 0]);
    expect([fleet.versionOn('nrt-1', idOf(0)), fleet.versionOn('fra-1', idOf(0))]).toEqual([
      '2.0.0',
      '1.0.0',
    ]);
  });

  test('forgets nodes that are gone, and functions that were deleted', () => {
    const fleet = open([facts(0, '1.0.0'), facts(1, '1.0.0')]);
    fleet.desiredOf('fra-1');
    fleet.update({ revision: 2, functions: [], nodes: NODES.slice(0, 5), deployed: [idOf(1)] });
    expect([fleet.isNode('fra-1'), fleet.isNode('lhr-1'), fleet.desiredOf('lhr-1')]).toEqual([
      true,
      false,
      null,
    ]);
    expect(versionsOf(fleet, 'fra-1')).toEqual(['f1 1.0.0']);
  });

  test('of a thousand nodes and ten thousand functions evaluates only the function that changes', () => {
    const many = Array.from({ length: 1_000 }, (_, at) => {
      return { id: `n${at}`, pop_id: `p${at % 100}`, labels: { region: `r${at % 5}` } };
    });
    const fleet = new Fleet();
    const functions = Array.from({ length: 10_000 }, (_, fn) => facts(fn, '1.0.0'));
    fleet.update({ revision: 1, functions, nodes: many, deployed: null });
    const before = new Map(many.map(({ id }) => [id, fleet.desiredOf(id)?.set]));
    const [every] = functions;
    const added = { id: 'dep_p7', version: '2.0.0', rank: 2, pop_selector: null, target_pop: ['p7'] };
    const changed = { ...facts(0, '1.0.0'), deployments: [...(every?.deployments ?? []), added] };
    fleet.update({ revision: 2, functions: [changed], nodes: null, deployed: null });
    const moved = many.filter(({ id }) => fleet.desiredOf(id)?.set !== before.get(id));
    expect(moved.map(({ pop_id }) => pop_id)).toEqual(Array.from({ length: 10 }, () => 'p7'));
    expect(moved.map(({ id }) => fleet.desiredOf(id)?.revision)).toEqual(moved.map(() => 2));
    expect(new Set(moved.map(({ id }) => fleet.desiredOf(id)?.set)).size).toBe(1);
  });
});

describe('A rollback', () => {
  const one = (id: string, given: Partial<ActiveDeployment>): ActiveDeployment => ({
    id,
    version: '1.1.0',
    previous_version: '1.0.0',
    from: null,
    rank: 1,
    revision: 1,
    ...EVERY_NODE,
    ...given,
  });
  const every = one('every', { version: '1.0.0', previous_version: '0.9.0' });
  const nrt = one('nrt', { target_pop: ['nrt'], rank: 2, revision: 2 });
  const moves = (active: ActiveDeployment[], version: string | null = null, from: string | null = null) => {
    const outcome = decideRollback(active, { version, from });
    if (outcome.kind !== 'moves') return `${outcome.kind} ${outcome.from}`;
    return outcome.decision.made.map((made) => `${made.replaces} ${outcome.from} > ${made.version}`).join();
  };

  test.each([
    [
      'leaves the version of the newest deployment, on its target alone',
      [every, nrt],
      null,
      null,
      'nrt 1.1.0 > 1.0.0',
    ],
    ['leaves the version that is named', [every, nrt], null, '1.0.0', 'every 1.0.0 > 0.9.0'],
    ['goes to the version that is named', [every, nrt], '0.8.0', null, 'nrt 1.1.0 > 0.8.0'],
    [
      'moves every target that runs the version',
      [{ ...every, version: '1.1.0' }, nrt],
      null,
      null,
      'every 1.1.0 > 0.9.0,nrt 1.1.0 > 1.0.0',
    ],
    [
      'has nothing left to do when it is repeated',
      [every, { ...nrt, version: '1.0.0', from: '1.1.0' }],
      null,
      null,
      'unchanged 1.1.0',
    ],
    [
      'has nothing left to do when it is repeated with what it leaves',
      [every, { ...nrt, version: '1.0.0', from: '1.1.0' }],
      null,
      '1.1.0',
      'unchanged 1.1.0',
    ],
    ['has nothing to do where the version runs already', [every], '1.0.0', null, 'unchanged 1.0.0'],
    [
      'goes further where what it leaves is named',
      [{ ...every, from: '1.1.0' }],
      null,
      '1.0.0',
      'every 1.0.0 > 0.9.0',
    ],
    [
      'leaves a version that is deployed again after it',
      [{ ...every, from: '1.1.0' }, nrt],
      null,
      null,
      'nrt 1.1.0 > 1.0.0',
    ],
    ['refuses to leave what nothing runs', [every, nrt], null, '3.0.0', 'not_active 3.0.0'],
    [
      'refuses where nothing ran before',
      [{ ...nrt, previous_version: null }],
      null,
      null,
      'nothing_before 1.1.0',
    ],
  ])('%s', (_, active, version, from, expected) => {
    expect(moves(active, version, from)).toBe(expected);
  });
});
