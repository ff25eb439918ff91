// The desired state of a node: which functions it gets, in which order, under which digest.
import { describe, expect, test } from 'bun:test';
import { Value } from '@sinclair/typebox/value';
import { defaultVersionSettings } from '../../../src/model/function.ts';
import { DesiredState } from '../../../src/model/protocol.ts';
import {
  createDesiredSet,
  type DeploymentFact,
  desiredDigest,
  type DesiredSet,
  type FunctionFacts,
} from '../../../src/model/rules/desired.ts';
import { Fleet } from '../../../src/model/rules/fleet.ts';
import type { NodeFact } from '../../../src/model/target/target.ts';

const idOf = (letter: string): string => `fn_${letter.repeat(26)}`;

function factsOf(letter: string, ...deployments: Partial<DeploymentFact>[]): FunctionFacts {
  const plain = { version: '1.0.0', pop_selector: null, target_pop: null };
  return {
    id: idOf(letter),
    project_id: 'default',
    name: 'hello',
    deployments: deployments.map((given, at) => ({ id: `dep_${letter}${at}`, rank: at, ...plain, ...given })),
    versions: ['1.0.0', '2.0.0'].map((version) => ({
      version,
      settings: defaultVersionSettings,
      sha256: version === '1.0.0' ? 'a'.repeat(64) : 'b'.repeat(64),
      size_bytes: 100,
    })),
    routes: ['rt_2', 'rt_1'].map((id) => ({ id, host: '*', path: `/${id}`, methods: [], priority: 0 })),
  };
}

const tokyo = { id: 'n1', pop_id: 'nrt', labels: { region: 'tokyo' } };
const paris = { id: 'n2', pop_id: 'cdg', labels: { region: 'paris' } };

function setOf(node: NodeFact, functions: FunctionFacts[]): DesiredSet {
  const fleet = new Fleet();
  fleet.update({ revision: 1, functions, nodes: [node], deployed: null });
  return fleet.desiredOf(node.id)?.set ?? createDesiredSet([]);
}

function names(node: NodeFact, ...functions: FunctionFacts[]): string[] {
  const { desired } = setOf(node, functions);
  return desired.functions.map((item) => `${item.function_id.charAt(3)} ${item.version}`);
}

describe('The desired state of a node', () => {
  test.each([
    ['no condition', {}, ['a 1.0.0'], ['a 1.0.0']],
    ['a selector', { pop_selector: "region == 'tokyo'" }, ['a 1.0.0'], []],
    ['pops', { target_pop: ['cdg', 'lhr'] }, [], ['a 1.0.0']],
    ['both', { pop_selector: "region == 'tokyo'", target_pop: ['cdg'] }, [], []],
    ['a selector over a label that no node has', { pop_selector: 'gpu == true' }, [], []],
    ['a selector that is not valid', { pop_selector: 'region ==' }, [], []],
    ['another version', { version: '2.0.0' }, ['a 2.0.0'], ['a 2.0.0']],
    ['a version that has no artifact', { version: '3.0.0' }, [], []],
  ])('follows a deployment with %s', (_, deployment, onTokyo, onParis) => {
    expect(names(tokyo, factsOf('a', deployment))).toEqual(onTokyo);
    expect(names(paris, factsOf('a', deployment))).toEqual(onParis);
  });

  test('has the version of the deployment with the highest rank that matches it', () => {
    const inTokyo = { version: '2.0.0', pop_selector: "region == 'tokyo'" };
    expect(names(tokyo, factsOf('a', {}, inTokyo))).toEqual(['a 2.0.0']);
    expect(names(paris, factsOf('a', {}, inTokyo))).toEqual(['a 1.0.0']);
    expect(names(tokyo, factsOf('a', { ...inTokyo, rank: 9 }, {}))).toEqual(['a 2.0.0']);
    expect(names(tokyo, factsOf('a', inTokyo, {}))).toEqual(['a 1.0.0']);
  });

  test('is ordered by function id, its routes by age, whatever the order of the facts', () => {
    const [a, b, c] = [factsOf('a', {}), factsOf('b', {}), factsOf('c', {})];
    expect(names(tokyo, c, a, b)).toEqual(['a 1.0.0', 'b 1.0.0', 'c 1.0.0']);
    const set = setOf(tokyo, [a]);
    expect(set.desired.functions[0]?.routes.map((route) => route.path)).toEqual(['/rt_1', '/rt_2']);
    const turned = { ...a, versions: a.versions.toReversed(), routes: a.routes.toReversed() };
    expect(setOf(tokyo, [b, turned]).digest).toBe(setOf(tokyo, [a, b]).digest);
  });

  test('fits the schema of the protocol, and names the artifact by a path of the control plane', () => {
    const { desired } = setOf(tokyo, [factsOf('a', {})]);
    expect(Value.Check(DesiredState, desired)).toBe(true);
    expect(desired.functions[0]?.artifact_url).toBe(`/api/v1/artifacts/${idOf('a')}/1.0.0`);
  });

  test('has another digest as soon as a version, a setting or a route changes', () => {
    const facts = factsOf('a', {});
    const digest = (changed: Partial<FunctionFacts>): string =>
      setOf(tokyo, [{ ...facts, ...changed }]).digest;
    const slower = facts.versions.map((item) => {
      return { ...item, settings: { ...item.settings, max_execution_ms: 9 } };
    });
    const digests = [
      digest({}),
      digest({ deployments: facts.deployments.map((item) => ({ ...item, version: '2.0.0' })) }),
      digest({ versions: slower }),
      digest({ routes: facts.routes.slice(1) }),
      digest({ deployments: [] }),
    ];
    expect(new Set(digests).size).toBe(digests.length);
    expect(digest({})).toMatch(/^[0-9a-f]{64}$/);
  });

  test('has the digest that an edge computes from what it receives', () => {
    for (const functions of [[], [factsOf('a', {})], [factsOf('b', {}), factsOf('a', {})]]) {
      const set = setOf(tokyo, functions);
      expect(set.digest).toBe(desiredDigest(set.desired));
    }
  });
});
