// The desired state of a node: which functions it gets, in which order, under which digest.
import { describe, expect, test } from 'bun:test';
import { Value } from '@sinclair/typebox/value';
import {
  createDesiredFor,
  type DeploymentFact,
  desiredDigest,
  type Facts,
} from '../../../src/model/rules/desired.ts';
import { defaultVersionSettings } from '../../../src/model/function.ts';
import { DesiredState } from '../../../src/model/protocol.ts';
import { compileSelector, type Selector, type SelectorNode } from '../../../src/model/rules/selector.ts';

const idOf = (letter: string): string => `fn_${letter.repeat(26)}`;

function selector(source: string): Selector {
  const outcome = compileSelector(source);
  if (!outcome.ok) throw new Error(outcome.message);
  return outcome.selector;
}

function factsOf(...deployments: (Partial<DeploymentFact> & { function_id: string })[]): Facts {
  const plain = { version: '1.0.0', selector: null, target_pop: null };
  const ids = deployments.map((deployment) => deployment.function_id);
  return {
    deployments: deployments.map((deployment) => ({ ...plain, ...deployment })),
    functions: ids.map((id) => ({ id, project_id: 'default', name: 'hello' })),
    versions: ids.flatMap((function_id) =>
      ['1.0.0', '2.0.0'].map((version) => {
        const settings = defaultVersionSettings;
        return {
          function_id,
          version,
          settings,
          sha256: version === '1.0.0' ? 'a'.repeat(64) : 'b'.repeat(64),
          size_bytes: 100,
        };
      }),
    ),
    routes: ids.flatMap((function_id) =>
      ['rt_2', 'rt_1'].map((id) => ({
        id,
        function_id,
        host: '*',
        path: `/${id}`,
        methods: [],
        priority: 0,
      })),
    ),
  };
}

const tokyo = { id: 'n1', pop_id: 'nrt', labels: { region: 'tokyo' } };
const paris = { id: 'n2', pop_id: 'cdg', labels: { region: 'paris' } };

function desiredFor(node: SelectorNode, facts: Facts): DesiredState {
  return createDesiredFor(facts)(node).desired;
}

function names(node: SelectorNode, facts: Facts): string[] {
  return desiredFor(node, facts).functions.map((item) => `${item.function_id.charAt(3)} ${item.version}`);
}

describe('The desired state of a node', () => {
  test.each([
    ['no condition', {}, ['a 1.0.0'], ['a 1.0.0']],
    ['a selector', { selector: selector("region == 'tokyo'") }, ['a 1.0.0'], []],
    ['pops', { target_pop: ['cdg', 'lhr'] }, [], ['a 1.0.0']],
    ['both', { selector: selector("region == 'tokyo'"), target_pop: ['cdg'] }, [], []],
    ['a selector over a label that no node has', { selector: selector('gpu == true') }, [], []],
    ['another version', { version: '2.0.0' }, ['a 2.0.0'], ['a 2.0.0']],
    ['a version that has no artifact', { version: '3.0.0' }, [], []],
  ])('follows a deployment with %s', (_, deployment, onTokyo, onParis) => {
    const facts = factsOf({ function_id: idOf('a'), ...deployment });
    expect(names(tokyo, facts)).toEqual(onTokyo);
    expect(names(paris, facts)).toEqual(onParis);
  });

  test('is ordered by function id, its routes by age, whatever the order of the facts', () => {
    const facts = factsOf({ function_id: idOf('c') }, { function_id: idOf('a') }, { function_id: idOf('b') });
    expect(names(tokyo, facts)).toEqual(['a 1.0.0', 'b 1.0.0', 'c 1.0.0']);
    expect(desiredFor(tokyo, facts).functions[0]?.routes.map((route) => route.path)).toEqual([
      '/rt_1',
      '/rt_2',
    ]);
    const turned = {
      deployments: facts.deployments.toReversed(),
      functions: facts.functions.toReversed(),
      versions: facts.versions.toReversed(),
      routes: facts.routes.toReversed(),
    };
    expect(desiredDigest(desiredFor(tokyo, turned))).toBe(desiredDigest(desiredFor(tokyo, facts)));
  });

  test('fits the schema of the protocol, and names the artifact by a path of the control plane', () => {
    const desired = desiredFor(tokyo, factsOf({ function_id: idOf('a') }));
    expect(Value.Check(DesiredState, desired)).toBe(true);
    expect(desired.functions[0]?.artifact_url).toBe(`/api/v1/artifacts/${idOf('a')}/1.0.0`);
  });

  test('has another digest as soon as a version, a setting or a route changes', () => {
    const facts = factsOf({ function_id: idOf('a') });
    const digest = (changed: Partial<Facts>): string =>
      desiredDigest(desiredFor(tokyo, { ...facts, ...changed }));
    const slower = facts.versions.map((item) => ({
      ...item,
      settings: { ...item.settings, max_execution_ms: 9 },
    }));
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

  test('is one shared object for nodes with the same functions, and carries its digest', () => {
    const inTokyo = { function_id: idOf('a'), selector: selector("region == 'tokyo'") };
    const desired = createDesiredFor(factsOf(inTokyo, { function_id: idOf('b') }));
    const osaka = { id: 'n3', pop_id: 'kix', labels: { region: 'tokyo' } };
    expect(desired(osaka)).toBe(desired(tokyo));
    expect(desired(paris)).not.toBe(desired(tokyo));
    expect(desired(tokyo).digest).toBe(desiredDigest(desired(tokyo).desired));
  });
});
