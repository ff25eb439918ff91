// A control plane that was restored: how it notices, which nodes follow, and how an operator takes one back.
import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HeartbeatRequest, JoinAnswer } from '../../src/model/protocol.ts';
import { type Answer, type Fleet, heartbeatOf, observed, openFleet, until } from './harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

const NONCE = 'n'.repeat(22);
type Has = Pick<HeartbeatRequest, 'applied_epoch' | 'applied_revision' | 'applied_digest'>;
const NOTHING: Has = { applied_epoch: null, applied_revision: 0, applied_digest: null };

/** What a node has that accepts this answer. */
const taken = (answer: Answer): Has => ({
  applied_epoch: answer.string('epoch'),
  applied_revision: Number(answer.at('revision')),
  applied_digest: answer.string('digest'),
});

/** What a node reports that refuses this answer. */
const refusing = (answer: Answer): Pick<HeartbeatRequest, 'refusal'> => ({
  refusal: {
    reason: 'other_epoch',
    epoch: answer.string('epoch'),
    revision: Number(answer.at('revision')),
    nonce: NONCE,
  },
});

const beat = (node: JoinAnswer, has: Partial<HeartbeatRequest>): Promise<Answer> => fleet.beat(node, has);
const pathOf = (name: string): string => join(fleet.dir, name);
const deploy = async (id: string): Promise<Answer> =>
  fleet.call('POST', `/api/v1/functions/${id}/deploy`, { json: {} });
const shown = async (id = 'n1'): Promise<Answer> => fleet.call('GET', `/api/v1/nodes/${id}`);
const rebase = (id = 'n1', headers: Record<string, string> = {}): Promise<Answer> =>
  fleet.call('POST', `/api/v1/nodes/${id}/rebase`, { json: {}, headers });

/** Copies the database while the control plane runs. */
function backUp(): void {
  mkdirSync(pathOf('backup'), { recursive: true });
  rmSync(pathOf('backup/control.db'), { force: true });
  using sqlite = new Database(pathOf('control.db'), { readonly: true });
  sqlite.run(`VACUUM INTO '${pathOf('backup/control.db')}'`);
}

async function restore(): Promise<void> {
  await fleet.control.close();
  for (const name of ['control.db-wal', 'control.db-shm']) rmSync(pathOf(name), { force: true });
  copyFileSync(pathOf('backup/control.db'), pathOf('control.db'));
  fleet = await openFleet({ dataDir: fleet.dir, clock: fleet.clock });
}

/** Node n1 has what came after the backup, n2 what came before it. */
async function restored(): Promise<{ ahead: JoinAnswer; behind: JoinAnswer; has: Has; had: Has }> {
  const id = await fleet.publish('hello');
  const [ahead, behind] = [await fleet.join('n1'), await fleet.join('n2')];
  const had = taken(await beat(behind, NOTHING));
  await beat(ahead, NOTHING);
  backUp();
  await deploy(id);
  const has = taken(await beat(ahead, NOTHING));
  await restore();
  return { ahead, behind, has, had };
}

describe('A control plane', () => {
  test('keeps its epoch over restarts, and signs it with each answer', async () => {
    const node = await fleet.join('n1');
    const first = await beat(node, NOTHING);
    expect(first.string('epoch')).toMatch(/^ep_[0-9a-z]{26}$/);
    fleet = await fleet.reopen();
    const again = await beat(node, taken(first));
    expect([again.at('epoch'), again.at('desired'), again.at('succeeds')]).toEqual([
      first.at('epoch'),
      null,
      undefined,
    ]);
    expect(fleet.lines.join('')).not.toContain('a new epoch begins');
  });

  test('says no epoch to a node that does not say its own', async () => {
    const answer = await fleet.beat(await fleet.join('n1'));
    expect([answer.status, 'epoch' in (answer.body as object)]).toEqual([200, false]);
  });

  test('keeps the highest revision that it handed out in a private file', async () => {
    const id = await fleet.publish('hello');
    const node = await fleet.join('n1');
    await deploy(id);
    const { applied_epoch: epoch, applied_revision: revision } = taken(await beat(node, NOTHING));
    expect(JSON.parse(readFileSync(pathOf('epoch.json'), 'utf8'))).toEqual({ epoch, revision });
  });

  test('answers also where that file cannot be written, and writes it later', async () => {
    const node = await fleet.join('n1');
    rmSync(pathOf('epoch.json'));
    mkdirSync(pathOf('epoch.json/in-the-way'), { recursive: true });
    const answer = await beat(node, NOTHING);
    expect(answer.status).toBe(200);
    expect(fleet.lines.join('')).toContain('the restore of a backup may go unnoticed');
    rmSync(pathOf('epoch.json'), { recursive: true });
    await fleet.clock.advance(1_000);
    await beat(node, taken(answer));
    expect(existsSync(pathOf('epoch.json'))).toBe(true);
  });
});

describe('A control plane that was restored from a backup', () => {
  test('begins a new epoch and says so', async () => {
    const { ahead, has } = await restored();
    expect(fleet.lines.join('')).toContain('it was restored from a backup');
    const answer = await beat(ahead, has);
    expect(answer.string('epoch')).not.toBe(has.applied_epoch ?? '');
    const audit = await fleet.call('GET', '/api/v1/audit?limit=1');
    expect(audit.text).toContain('epoch.begin');
    fleet = await fleet.reopen();
    expect((await beat(ahead, has)).at('epoch')).toBe(answer.at('epoch'));
  });

  test('does so again when the same backup is restored again', async () => {
    const { ahead, has } = await restored();
    const first = (await beat(ahead, has)).at('epoch');
    await restore();
    expect((await beat(ahead, has)).at('epoch')).not.toBe(first);
  });

  test('takes along the nodes that have nothing of what is lost', async () => {
    const { behind, had } = await restored();
    const answer = await beat(behind, had);
    expect(answer.at('succeeds')).toMatchObject({ epoch: had.applied_epoch });
    expect(Number(answer.at('succeeds.revision'))).toBeGreaterThanOrEqual(had.applied_revision);
    expect(answer.at('desired')).toEqual({ functions: [] });
  });

  test.each(['missing', 'damaged'])('notices also where its file is %s', async (what) => {
    const node = await fleet.join('n1');
    const had = taken(await beat(node, NOTHING));
    await fleet.control.close();
    if (what === 'missing') rmSync(pathOf('epoch.json'));
    else writeFileSync(pathOf('epoch.json'), '{"epoch":"ep_');
    fleet = await openFleet({ dataDir: fleet.dir, clock: fleet.clock });
    expect(fleet.lines.join('')).toContain('a new epoch begins');
    expect((await beat(node, had)).at('succeeds')).toMatchObject({ epoch: had.applied_epoch });
  });
});

describe('A node that refuses', () => {
  test('is shown as diverged until it refuses no more, with a metric and one line in the log', async () => {
    const { ahead, has } = await restored();
    const refused = refusing(await beat(ahead, has));
    for (let i = 0; i < 3; i += 1) await beat(ahead, { ...has, ...refused });
    expect((await shown()).body).toMatchObject({
      status: 'online',
      diverged: { reason: 'other_epoch', has: { revision: has.applied_revision } },
    });
    expect(await fleet.metrics.render()).toContain('control_node_diverged{node_id="n1"} 1');
    expect(fleet.lines.filter((line) => line.includes('edge node rebase n1'))).toHaveLength(1);
    await beat(ahead, has);
    expect((await shown()).at('diverged')).toBeNull();
    expect(await fleet.metrics.render()).toContain('control_node_diverged{node_id="n1"} 0');
  });

  test('is not sent again what it refuses, until something else is to be sent', async () => {
    const { ahead, has } = await restored();
    const refused = { ...has, ...refusing(await beat(ahead, has)), hold_ms: 25_000 };
    let answer: Answer | null = null;
    const waiting = beat(ahead, refused).then((found) => (answer = found));
    await until(async () => (await fleet.metrics.render()).includes('control_held_polls 1'));
    expect(answer).toBeNull();
    const id = await fleet.publish('other');
    await deploy(id);
    expect((await waiting).at('desired')).toMatchObject({ functions: [{ name: 'other' }] });
  });

  test.each([
    ['a reason of its own', { reason: '\u001b[31m' }],
    ['a long nonce', { nonce: 'n'.repeat(1_000) }],
    ['an epoch that is none', { epoch: '../../etc' }],
    ['a negative revision', { revision: -1 }],
    ['more fields', { more: 1 }],
  ])('with %s is refused itself', async (_, lie) => {
    const node = await fleet.join('n1');
    const refusal = { reason: 'other_epoch', epoch: null, revision: null, nonce: NONCE, ...lie };
    const answer = await fleet.call('POST', '/api/v1/nodes/n1/heartbeat', {
      token: node.node_token,
      json: { ...heartbeatOf({}), refusal },
    });
    expect([answer.status, answer.code]).toEqual([422, 'validation_failed']);
    expect((await shown()).at('diverged')).toBeNull();
  });

  test('does not count as done with what it has not accepted', async () => {
    const { ahead, has } = await restored();
    const id = String((await fleet.call('GET', '/api/v1/functions')).at('items.0.id'));
    const refused = refusing(await beat(ahead, has));
    const deployment = (await deploy(id)).string('deployment.id');
    const functions = [observed(id, '1.0.0', 'cached')];
    await beat(ahead, { ...has, ...refused, applied_revision: 1_000, functions, applied_digest: null });
    const progress = await fleet.call('GET', `/api/v1/deployments/${deployment}`);
    expect(progress.text).toContain(
      '"node_id":"n1","pop_id":"pop-1","node_status":"online","state":"pending"',
    );
  });
});

describe('A rebase', () => {
  test('gives the node a statement about what it has, until it has left that', async () => {
    const { ahead, has } = await restored();
    const refused = refusing(await beat(ahead, has));
    await beat(ahead, { ...has, ...refused });
    expect((await rebase()).status).toBe(200);
    const { applied_epoch: epoch, applied_revision: revision } = has;
    for (let i = 0; i < 2; i += 1) {
      const answer = await beat(ahead, { ...has, ...refused });
      expect(answer.at('rebase')).toEqual({ epoch, revision, nonce: NONCE });
      expect(answer.at('desired')).toEqual({ functions: [] });
    }
    fleet = await fleet.reopen();
    const answer = await beat(ahead, { ...has, ...refused });
    expect(answer.at('rebase')).toEqual({ epoch, revision, nonce: NONCE });
    await beat(ahead, taken(answer));
    expect((await shown()).at('diverged')).toBeNull();
    const replayed = await beat(ahead, { ...has, ...refused });
    expect(replayed.at('rebase')).toBeUndefined();
  });

  test('wakes a heartbeat that is held', async () => {
    const { ahead, has } = await restored();
    const refused = refusing(await beat(ahead, has));
    const waiting = beat(ahead, { ...has, ...refused, hold_ms: 25_000 });
    await until(async () => (await fleet.metrics.render()).includes('control_held_polls 1'));
    await rebase();
    expect((await waiting).at('rebase')).toMatchObject({ nonce: NONCE });
  });

  test('gives other nodes nothing', async () => {
    const { ahead, behind, has } = await restored();
    const refused = refusing(await beat(ahead, has));
    for (const node of [ahead, behind]) await beat(node, { ...has, ...refused });
    await rebase('n1');
    expect((await beat(behind, { ...has, ...refused })).at('rebase')).toBeUndefined();
    const more = { ...has, ...refused, applied_revision: has.applied_revision + 1 };
    expect((await beat(ahead, more)).at('rebase')).toBeUndefined();
  });

  test('is recorded once, also when it is sent again with its key or without', async () => {
    const { ahead, has } = await restored();
    await beat(ahead, { ...has, ...refusing(await beat(ahead, has)) });
    const headers = { 'idempotency-key': 'k1' };
    const first = await rebase('n1', headers);
    const again = await rebase('n1', headers);
    expect([again.text, again.headers.get('idempotency-replayed')]).toEqual([first.text, 'true']);
    await rebase();
    const audit = await fleet.call('GET', '/api/v1/audit?limit=50');
    expect(audit.text.split('"node.rebase"')).toHaveLength(2);
    expect(audit.text).toContain('"actor":"admin:first"');
  });

  test('of a node that is ahead within the same epoch begins another epoch', async () => {
    const node = await fleet.join('n1');
    const answer = await beat(node, NOTHING);
    const ahead = { ...taken(answer), applied_revision: 500 };
    const { refusal } = refusing(answer);
    if (refusal === undefined) throw new Error('no refusal');
    const refused = { ...ahead, refusal: { ...refusal, reason: 'revision_below' as const } };
    await beat(node, refused);
    await rebase();
    const told = await beat(node, refused);
    expect(told.at('epoch')).not.toBe(answer.at('epoch'));
    expect(told.at('rebase')).toMatchObject({ epoch: ahead.applied_epoch, revision: 500 });
    const other = await fleet.join('n2');
    const follows = await beat(other, taken(answer));
    expect(follows.at('succeeds')).toMatchObject({ epoch: answer.at('epoch') });
  });

  test('of a node of an unknown epoch begins another one, once for all of them', async () => {
    const [one, two] = [await fleet.join('n1'), await fleet.join('n2')];
    const answer = await beat(one, NOTHING);
    const elsewhere = { ...taken(answer), applied_epoch: `ep_${'z'.repeat(26)}`, ...refusing(answer) };
    for (const node of [one, two]) await beat(node, elsewhere);
    await rebase('n1');
    const told = await beat(one, elsewhere);
    expect(told.at('epoch')).not.toBe(answer.at('epoch'));
    await rebase('n2');
    expect((await beat(two, elsewhere)).at('epoch')).toBe(told.at('epoch'));
  });

  test('is refused for a node that refuses nothing, that must join again, or that is not there', async () => {
    const node = await fleet.join('n1');
    expect((await rebase()).code).toBe('node_not_diverged');
    const answer = await beat(node, NOTHING);
    const forged = { reason: 'signature_invalid' as const, epoch: null, revision: null, nonce: NONCE };
    await beat(node, { ...taken(answer), refusal: forged });
    const refused = await rebase();
    expect([refused.status, refused.code]).toEqual([409, 'node_not_diverged']);
    expect(refused.text).toContain('edge join-token --node n1');
    expect((await rebase('nobody')).code).toBe('node_not_found');
    const byNode = await fleet.call('POST', '/api/v1/nodes/n1/rebase', { token: node.node_token, json: {} });
    expect(byNode.code).toBe('forbidden');
  });
});

describe('A control plane whose signing key is gone', () => {
  test('does not start where nodes have joined, and says what to restore and what else is possible', async () => {
    await fleet.join('n1');
    await fleet.control.close();
    rmSync(pathOf('signing-key.pem'));
    const open = (): Promise<Fleet> => openFleet({ dataDir: fleet.dir, clock: fleet.clock });
    await expect(open()).rejects.toThrow('"signing-key.pem" is missing from the data directory');
    await expect(open()).rejects.toThrow('--new-signing-key');
    expect(existsSync(pathOf('signing-key.pem'))).toBe(false);
    fleet = await openFleet({ dataDir: fleet.dir, clock: fleet.clock, lostSigningKey: 'replace' });
    expect(fleet.lines.join('')).toContain('a new signing key is made');
  });

  test('makes one where none has joined', async () => {
    await fleet.control.close();
    rmSync(pathOf('signing-key.pem'));
    fleet = await openFleet({ dataDir: fleet.dir, clock: fleet.clock });
    expect(existsSync(pathOf('signing-key.pem'))).toBe(true);
  });
});
