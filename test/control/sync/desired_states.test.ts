// Desired states at one revision: what each node gets, and when the facts are read again.
import { describe, expect, test } from 'bun:test';
import * as fc from 'fast-check';
import { createDesiredStates } from '../../../src/control/sync/desired_states.ts';
import { createDesiredFor, desiredDigest } from '../../../src/model/rules/desired.ts';
import { defaultVersionSettings } from '../../../src/model/function.ts';
import { compileSelector } from '../../../src/model/rules/selector.ts';
import type { StoredFacts } from '../../../src/store/facts.ts';

const idOf = (letter: string): string => `fn_${letter.repeat(26)}`;

function factsOf(deployments: StoredFacts['deployments'], revision = 1): StoredFacts {
  const ids = ['a', 'b', 'c'].map(idOf);
  return {
    revision,
    deployments,
    node_ids: ['n1', 'n2'],
    functions: ids.map((id) => ({ id, project_id: 'default', name: 'f' })),
    versions: ids.map((function_id) => {
      const artifact = { sha256: 'a'.repeat(64), size_bytes: 9 };
      return { function_id, version: '1.0.0', settings: defaultVersionSettings, ...artifact };
    }),
    routes: [{ id: 'rt_1', function_id: idOf('a'), host: '*', path: '/', methods: [], priority: 0 }],
  };
}

const anyNode = fc.record({
  id: fc.constantFrom('n1', 'n2'),
  pop_id: fc.constantFrom('p1', 'p2'),
  labels: fc.dictionary(
    fc.constantFrom('region', 'gpu'),
    fc.oneof(fc.constantFrom('tokyo', 'paris'), fc.boolean()),
  ),
});

const anyDeployment = fc.record({
  pop_selector: fc.constantFrom(null, "region == 'tokyo'", 'gpu', "node_id == 'n1' || gpu"),
  target_pop: fc.constantFrom<string[] | null>(null, ['p1'], ['p1', 'p2'], []),
});

describe('A snapshot of desired states', () => {
  test('gives each node what each deployment alone would give it, in order', async () => {
    const property = fc.asyncProperty(
      fc.array(anyDeployment, { maxLength: 3 }),
      fc.array(anyNode, { minLength: 1, maxLength: 6 }),
      async (made, nodes) => {
        const deployments = made.map((target, index) => {
          return { ...target, function_id: idOf('abc'.charAt(index)), version: '1.0.0' };
        });
        const facts = factsOf(deployments);
        const states = createDesiredStates({ facts: { read: async () => facts }, revisions: { version: 1 } });
        const snapshot = await states.snapshot();
        const compiled = deployments.map(({ pop_selector, ...rest }) => {
          const outcome = pop_selector === null ? null : compileSelector(pop_selector);
          return { ...rest, selector: outcome?.ok === true ? outcome.selector : null };
        });
        for (const node of nodes) {
          const functions = compiled.flatMap((deployment) => {
            return createDesiredFor({ ...facts, deployments: [deployment] })(node).desired.functions;
          });
          const digest = desiredDigest({ functions });
          expect(snapshot.desiredFor(node)).toEqual({ desired: { functions }, digest });
        }
      },
    );
    await fc.assert(property, { numRuns: 100 });
  });

  test('is read again only when the revision has risen', async () => {
    const revisions = { version: 1 };
    let reads = 0;
    const read = async (): Promise<StoredFacts> => {
      reads += 1;
      return factsOf([], revisions.version);
    };
    const states = createDesiredStates({ facts: { read }, revisions });
    const first = await states.snapshot();
    expect(await states.snapshot()).toBe(first);
    expect(reads).toBe(1);
    revisions.version = 2;
    expect((await states.snapshot()).revision).toBe(2);
    expect(reads).toBe(2);
  });

  test('that could not be read is read again', async () => {
    let failures = 1;
    const read = async (): Promise<StoredFacts> => {
      if (failures > 0) {
        failures -= 1;
        throw new Error('locked');
      }
      return factsOf([]);
    };
    const states = createDesiredStates({ facts: { read }, revisions: { version: 1 } });
    await expect(states.snapshot()).rejects.toThrow('locked');
    expect((await states.snapshot()).revision).toBe(1);
  });

  test('sends a deployment whose stored selector is invalid to no node, not to every node', async () => {
    const facts = factsOf([
      { function_id: idOf('a'), version: '1.0.0', pop_selector: 'region ==', target_pop: null },
    ]);
    const states = createDesiredStates({ facts: { read: async () => facts }, revisions: { version: 1 } });
    const node = { id: 'n1', pop_id: 'p1', labels: {} };
    expect((await states.snapshot()).desiredFor(node).desired.functions).toEqual([]);
  });
});
