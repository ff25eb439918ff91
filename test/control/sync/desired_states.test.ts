// The parts of the control plane on their own: snapshots, notifier, gate, turns, upload URLs.
import { describe, expect, test } from 'bun:test';
import * as fc from 'fast-check';
import { createManualClock } from '../../../src/base/clock.ts';
import { createDesiredStates } from '../../../src/control/sync/desired_states.ts';
import { createGate, createSerialQueue } from '../../../src/base/concurrency.ts';
import { createNotifier } from '../../../src/control/sync/notifier.ts';
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

  test('is read again only when the revision has moved', async () => {
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

  test('sends a deployment whose selector is no longer understood nowhere, not everywhere', async () => {
    const facts = factsOf([
      { function_id: idOf('a'), version: '1.0.0', pop_selector: 'region ==', target_pop: null },
    ]);
    const states = createDesiredStates({ facts: { read: async () => facts }, revisions: { version: 1 } });
    const node = { id: 'n1', pop_id: 'p1', labels: {} };
    expect((await states.snapshot()).desiredFor(node).desired.functions).toEqual([]);
  });
});

describe('A notifier', () => {
  const signal = new AbortController().signal;

  test('wakes every waiter at once, and each only once', async () => {
    const notifier = createNotifier({ clock: createManualClock() });
    const woken: number[] = [];
    for (const index of [1, 2]) {
      void notifier.wait({ seen: 0, ms: 1_000, signal }).then(() => woken.push(index));
    }
    notifier.wake();
    await Promise.resolve();
    expect(woken).toEqual([1, 2]);
  });

  test.each([
    ['what moved between the look and the wait', { seen: -1, ms: 1_000, signal }],
    ['no time left', { seen: 0, ms: 0, signal }],
    ['a caller who is gone', { seen: 0, ms: 1_000, signal: AbortSignal.abort() }],
  ])('does not wait with %s', async (_, options) => {
    await createNotifier({ clock: createManualClock() }).wait(options);
  });

  test('ends a wait with its time, its caller, or its own end', async () => {
    const clock = createManualClock();
    const notifier = createNotifier({ clock });
    const leaving = new AbortController();
    let ended = 0;
    void notifier.wait({ seen: 0, ms: 10, signal }).then(() => (ended += 1));
    void notifier.wait({ seen: 0, ms: 1_000, signal: leaving.signal }).then(() => (ended += 1));
    void notifier.wait({ seen: 0, ms: 1_000, signal }).then(() => (ended += 1));
    await clock.advance(10);
    expect(ended).toBe(1);
    leaving.abort();
    await clock.advance(0);
    expect(ended).toBe(2);
    notifier.close();
    await clock.advance(0);
    expect([ended, notifier.closed]).toEqual([3, true]);
    await notifier.wait({ seen: 0, ms: 1_000, signal });
  });
});

describe('A gate', () => {
  test('lets in what it has room for and refuses the rest at once', async () => {
    const gate = createGate({ max: 2 });
    const leave: (() => void)[] = [];
    const enter = () => gate.enter(() => new Promise<void>((resolve) => void leave.push(resolve)));
    const inside = [enter(), enter()];
    expect(gate.inside).toBe(2);
    await expect(enter()).rejects.toMatchObject({ code: 'overloaded' });
    for (const go of leave) go();
    await Promise.all(inside);
    expect(gate.inside).toBe(0);
  });

  test('gives the room back when the work fails', async () => {
    const gate = createGate({ max: 1 });
    await expect(gate.enter(() => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    expect(await gate.enter(async () => 'again')).toBe('again');
  });
});

test('Turns run one after the other, and a failed one does not stop the next', async () => {
  const turn = createSerialQueue();
  const order: string[] = [];
  const work = (name: string) => async (): Promise<void> => {
    order.push(`${name} begins`);
    await Promise.resolve();
    order.push(`${name} ends`);
    if (name === 'a') throw new Error('broken');
  };
  await Promise.allSettled([turn(work('a')), turn(work('b'))]);
  expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
});
