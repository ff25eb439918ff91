// The facts that desired states are made of: what is read since a revision is all that has changed.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import * as fc from 'fast-check';
import { createManualClock } from '../../src/base/clock.ts';
import { CodedError } from '../../src/base/errors.ts';
import { defaultVersionSettings } from '../../src/model/function.ts';
import { Fleet } from '../../src/model/rules/fleet.ts';
import { EVERY_NODE, type Target } from '../../src/model/target/target.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { sqliteMigrations } from '../control/harness.ts';

const actor = 'admin:test';
const POPS = ['nrt', 'fra', 'lhr'];
const TARGETS: Target[] = [
  EVERY_NODE,
  { pop_selector: null, target_pop: ['nrt'] },
  { pop_selector: 'spare', target_pop: null },
];

let store: Store;
let made = 0;
const newId = (): string => `x_${(made += 1)}`;

beforeEach(() => {
  const clock = createManualClock(1_000);
  store = openStore({ path: ':memory:', migrations: sqliteMigrations(), clock, onCommit: () => {} });
});
afterEach(() => store.close());

async function createFunction(id: string): Promise<void> {
  const settings = defaultVersionSettings;
  const input = { id, project_id: 'default', name: id, pop_selector: null, version: '1.0.0', settings };
  await store.functions.create({ ...input, actor });
  for (const version of ['1.0.0', '1.1.0']) {
    if (version !== '1.0.0') await store.versions.create({ function_id: id, version, settings: {}, actor });
    const artifact = { sha256: `${id}-${version}`, size_bytes: 8, report: null };
    await store.versions.publish({ function_id: id, version, ...artifact, actor });
  }
}

async function join(id: string, pop_id: string): Promise<void> {
  const hash = newId();
  const token = {
    hash,
    node_id: id,
    pop_id: null,
    labels: { spare: pop_id === 'lhr' },
    ttl_ms: 9_000,
  };
  await store.nodes.addJoinToken({ ...token, actor });
  const node = { node_id: id, pop_id, labels: {}, edge_version: '0.1.0', public_key: `key-${id}` };
  await store.nodes.join({ ...node, join_token_hash: hash, token_hash: newId() });
}

type Act = (fn: string, node: string, pick: number) => Promise<unknown>;

const ACTS: Act[] = [
  (function_id, _, pick) => {
    const target = TARGETS[pick % 3] ?? null;
    const version = pick % 2 === 0 ? '1.0.0' : '1.1.0';
    const wanted = { target, from: null, allow_empty: true, newId, actor };
    return store.deployments.deploy({ function_id, version, ...wanted });
  },
  (function_id) =>
    store.deployments.rollBack({
      function_id,
      version: undefined,
      from: undefined,
      target: null,
      newId,
      actor,
    }),
  (function_id) => store.deployments.undeploy({ function_id, actor }),
  async (function_id) => {
    const page = { limit: 1, cursor: null, function_id, activeOnly: true };
    const [one] = (await store.deployments.list(page)).items;
    if (one !== undefined) await store.deployments.end({ id: one.id, actor });
  },
  (function_id, _, pick) => {
    const rule = { host: '*', path: `/${function_id}/${pick}`, methods: [], priority: 0 };
    return store.routes.create({ ...rule, id: newId(), function_id, actor });
  },
  async (function_id) => {
    const [route] = (await store.routes.list({ limit: 1, cursor: null, function_id })).items;
    if (route !== undefined) await store.routes.remove({ id: route.id, actor });
  },
  (_, id, pick) => store.nodes.label({ id, labels: { spare: pick % 2 === 0 }, actor }),
  (_, id) => store.nodes.remove({ id, actor }),
  (_, id, pick) => join(id, POPS[pick % 3] ?? 'nrt'),
  async (id) => {
    await store.deployments.undeploy({ function_id: id, actor }).catch(ignoreRefusal);
    await store.functions.remove({ id, actor });
  },
  (id) => createFunction(id),
];

/** Deploys and labels, without which the other acts meet nothing. */
const OFTEN = ACTS.filter((_, at) => at === 0 || at === 6);

function ignoreRefusal(failure: unknown): void {
  if (!(failure instanceof CodedError)) throw failure;
}

function stateOf(fleet: Fleet): string[] {
  return POPS.map((pop) => `${pop} ${fleet.desiredOf(`${pop}-1`)?.set.digest ?? 'gone'}`);
}

describe('The facts', () => {
  test('read since a revision bring a fleet to the state that all facts give', async () => {
    const functions = ['fn_a', 'fn_b'];
    for (const id of functions) await createFunction(id);
    for (const pop of POPS) await join(`${pop}-1`, pop);
    const fleet = new Fleet();
    fleet.update(await store.facts.read(null));
    const anyAct = fc.record({
      act: fc.oneof({ weight: 2, arbitrary: fc.constantFrom(...ACTS) }, fc.constantFrom(...OFTEN)),
      fn: fc.constantFrom(...functions),
      node: fc.constantFrom(...POPS.map((pop) => `${pop}-1`)),
      pick: fc.nat(5),
      isRead: fc.boolean(),
    });
    const property = fc.asyncProperty(fc.array(anyAct, { maxLength: 30, size: 'max' }), async (acts) => {
      for (const { act, fn, node, pick, isRead } of acts) {
        await act(fn, node, pick).catch(ignoreRefusal);
        if (!isRead) continue;
        fleet.update(await store.facts.read(fleet.revision));
        const fresh = new Fleet();
        fresh.update(await store.facts.read(null));
        expect(stateOf(fleet)).toEqual(stateOf(fresh));
      }
    });
    await fc.assert(property, { numRuns: 40 });
  }, 20_000);

  test('hold only the functions that have changed, and nodes where one has', async () => {
    await createFunction('fn_a');
    await createFunction('fn_b');
    await join('nrt-1', 'nrt');
    const since = await store.facts.revision();
    expect(await store.facts.read(since)).toEqual({
      revision: since,
      functions: [],
      nodes: null,
      deployed: null,
      epochs: { current: null, ended: new Map() },
    });
    await ACTS[0]?.('fn_b', '', 0);
    const read = await store.facts.read(since);
    expect(read.functions.map(({ id, deployments }) => [id, deployments.length])).toEqual([['fn_b', 1]]);
    expect(read.nodes).toBeNull();
    await join('fra-1', 'fra');
    expect((await store.facts.read(read.revision)).nodes?.map(({ id }) => id)).toEqual(['fra-1', 'nrt-1']);
  });
});
