// Liveness: which silence makes a node offline, through jumps of the clock and stops of the control plane.
import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { SYNC_DEFAULTS, SYNC_TUNING } from '../../src/base/limits/sync.ts';
import type { JoinAnswer } from '../../src/model/protocol.ts';
import { type Fleet, observed, openFleet, until } from './harness.ts';

const { nodeOfflineMs } = SYNC_DEFAULTS;
const DAY_MS = 86_400_000;

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

const statusOf = async (id: string): Promise<unknown> =>
  (await fleet.call('GET', `/api/v1/nodes/${id}`)).at('status');

/** Lets time pass while these nodes report. */
async function pass(ms: number, nodes: readonly JoinAnswer[]): Promise<void> {
  const intervalMs = SYNC_DEFAULTS.heartbeatIntervalMs;
  for (let left = ms; left > 0; left -= intervalMs) {
    await fleet.clock.advance(Math.min(left, intervalMs));
    for (const node of nodes) await fleet.beat(node);
  }
}

describe('A silent node', () => {
  test('is offline after the limit, online again with its next heartbeat', async () => {
    const node = await fleet.join('n1');
    await fleet.beat(node);
    await fleet.clock.advance(SYNC_DEFAULTS.nodeOfflineMs - SYNC_TUNING.livenessStepMs - 1);
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('status')).toBe('online');
    await fleet.clock.advance(2 * SYNC_TUNING.livenessStepMs);
    await until(async () => (await fleet.call('GET', '/api/v1/nodes/n1')).at('status') === 'offline');
    expect(await fleet.metrics.render()).toContain('control_node_up{node_id="n1"} 0');
    await fleet.beat(node);
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('status')).toBe('online');
  });

  test('among too many silent ones stays as it is: the control plane suspects itself', async () => {
    for (const name of ['a', 'b', 'c', 'd']) await fleet.beat(await fleet.join(name));
    await fleet.clock.advance(SYNC_DEFAULTS.nodeOfflineMs * 2);
    await until(() => fleet.lines.some((line) => line.includes('many nodes are silent')));
    expect((await fleet.call('GET', '/api/v1/nodes/a')).at('status')).toBe('online');
  });

  test('gets the full time from a control plane that has just started', async () => {
    await fleet.beat(await fleet.join('n1'));
    await fleet.control.close();
    await fleet.clock.advance(SYNC_DEFAULTS.nodeOfflineMs * 2);
    fleet = await fleet.reopen();
    await fleet.clock.advance(SYNC_DEFAULTS.nodeOfflineMs - SYNC_TUNING.livenessStepMs);
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('status')).toBe('online');
    await fleet.clock.advance(2 * SYNC_TUNING.livenessStepMs);
    await until(async () => (await fleet.call('GET', '/api/v1/nodes/n1')).at('status') === 'offline');
  });
});

describe('A clock that jumps', () => {
  test.each([-DAY_MS, DAY_MS])('by %p ms makes nobody offline, and keeps nobody online', async (jumpMs) => {
    const [alive, gone] = [await fleet.join('alive'), await fleet.join('gone')];
    for (const node of [alive, gone]) await fleet.beat(node);
    fleet.clock.jump(jumpMs);
    await pass(SYNC_TUNING.livenessStepMs * 3, [alive]);
    expect([await statusOf('alive'), await statusOf('gone')]).toEqual(['online', 'online']);
    await pass(nodeOfflineMs, [alive]);
    await until(async () => (await statusOf('gone')) === 'offline');
    expect(await statusOf('alive')).toBe('online');
  });

  test('shows people the time of the wall clock', async () => {
    const node = await fleet.join('n1');
    fleet.clock.jump(-DAY_MS);
    await fleet.beat(node);
    const shown = await fleet.call('GET', '/api/v1/nodes/n1');
    expect(shown.at('last_heartbeat_at')).toBe(new Date(fleet.clock.nowMs()).toISOString());
  });
});

describe('A control plane that was stopped', () => {
  test('for longer than the limit makes no node offline that reports again', async () => {
    const nodes = [await fleet.join('a'), await fleet.join('b')];
    for (const node of nodes) await fleet.beat(node);
    await fleet.clock.freeze(nodeOfflineMs * 10);
    await fleet.clock.advance(SYNC_TUNING.livenessStepMs * 2);
    expect([await statusOf('a'), await statusOf('b')]).toEqual(['online', 'online']);
    await pass(nodeOfflineMs, nodes);
    expect([await statusOf('a'), await statusOf('b')]).toEqual(['online', 'online']);
  });

  test('finds out that a node is gone once it has listened for the limit', async () => {
    await fleet.beat(await fleet.join('gone'));
    await fleet.clock.freeze(nodeOfflineMs * 10);
    await fleet.clock.advance(nodeOfflineMs / 2);
    expect(await statusOf('gone')).toBe('online');
    await fleet.clock.advance(nodeOfflineMs / 2);
    await until(async () => (await statusOf('gone')) === 'offline');
  });
});

describe('Many nodes', () => {
  test('that stay silent are offline in the end: the brake does not hold for ever', async () => {
    const names = ['a', 'b', 'c', 'd'];
    for (const name of names) await fleet.beat(await fleet.join(name));
    await fleet.clock.advance(nodeOfflineMs * SYNC_TUNING.livenessBrakePeriods + SYNC_TUNING.livenessStepMs);
    for (const name of names) await until(async () => (await statusOf(name)) === 'offline');
  });

  test('are marked a few at a time', async () => {
    const silent = SYNC_TUNING.livenessMarksMax + 10;
    const alive: JoinAnswer[] = [];
    for (let at = 0; at < silent; at += 1) {
      alive.push(await fleet.join(`alive-${at}`));
      await fleet.join(`gone-${at}`);
    }
    await pass(nodeOfflineMs - SYNC_TUNING.livenessStepMs, alive);
    const marked = (): number => fleet.lines.filter((line) => line.includes('a node is offline')).length;
    while (marked() === 0) await fleet.clock.advance(SYNC_TUNING.livenessPauseMs - 1);
    expect(marked()).toBe(SYNC_TUNING.livenessMarksMax);
    await fleet.clock.advance(SYNC_TUNING.livenessPauseMs);
    await until(() => marked() === silent);
  });
});

describe('A heartbeat', () => {
  test('that says nothing new writes nothing, and its figures are shown all the same', async () => {
    const id = await fleet.publish('hello');
    const node = await fleet.join('n1');
    const digest = (await fleet.beat(node)).string('digest');
    const functions = [observed(id, '1.0.0', 'cached')];
    await fleet.beat(node, { applied_digest: digest, functions });
    using other = new Database(join(fleet.dir, 'control.db'));
    const version = other.query('PRAGMA data_version');
    const before = version.get();
    const [one] = functions;
    if (one === undefined) throw new Error('no function');
    const busy = [{ ...one, invocation_count: 7 }];
    await fleet.beat(node, { applied_digest: digest, functions: busy, cpu_percent: 33, applied_revision: 9 });
    expect(version.get()).toEqual(before);
    const shown = (await fleet.call('GET', '/api/v1/nodes/n1')).body;
    expect(shown).toMatchObject({ cpu_percent: 33, applied_revision: 9, status: 'online' });
    await fleet.clock.advance(2 * SYNC_TUNING.heartbeatPersistMs);
    await fleet.beat(node, { applied_digest: digest, functions: busy });
    expect(version.get()).not.toEqual(before);
  });

  test('whose state changes is written at once', async () => {
    const node = await fleet.join('n1');
    await fleet.beat(node);
    await fleet.beat(node, { status: 'degraded' });
    fleet = await fleet.reopen();
    expect(await statusOf('n1')).toBe('degraded');
  });
});
