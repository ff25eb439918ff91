// Which answers of a control plane a node accepts: signature, form, addressee, epoch and revision.
import { describe, expect, test } from 'bun:test';
import { type Accepted, type Judgement, judgeAnswer, readControlKey } from '../../../src/edge/sync/accept.ts';
import { desiredDigest } from '../../../src/model/rules/desired.ts';
import type { DesiredState } from '../../../src/model/protocol.ts';
import { createFakeControl, desiredFunction } from '../fake_control.ts';

const control = createFakeControl();
const key =
  readControlKey(control.publicKey) ??
  (() => {
    throw new Error('no key');
  })();
const one: DesiredState = { functions: [desiredFunction(1, '1.0.0')] };
const two: DesiredState = { functions: [desiredFunction(1, '2.0.0')] };
const accepted = (desired: DesiredState, revision: number, epoch: string | null = null): Accepted => ({
  epoch,
  revision,
  digest: desiredDigest(desired),
  desired,
});
const answerOf = (desired: DesiredState, revision: number, more: object = {}): object => ({
  node_id: 'n1',
  revision,
  digest: desiredDigest(desired),
  desired,
  next_heartbeat_ms: 7,
  ...more,
});
function judge(
  answer: object,
  options: {
    current?: Accepted;
    nonce?: string;
    tamper?: (body: string, signature: string) => [string, string | null];
  } = {},
): Judgement {
  const { body, signature } = control.sign(answer);
  const [sent, signed] = options.tamper?.(body, signature) ?? [body, signature];
  const bytes = new TextEncoder().encode(sent);
  const { current = null, nonce = null } = options;
  return judgeAnswer({ bytes, signature: signed, key, nodeId: 'n1', current, nonce });
}

describe('An answer to a heartbeat', () => {
  test('that is signed and newer is accepted', () => {
    expect(judge(answerOf(one, 3), { current: accepted(two, 2) })).toEqual({
      kind: 'accepted',
      accepted: accepted(one, 3),
      nextHeartbeatMs: 7,
    });
  });

  test('without a state changes nothing when the digest is that of the current state', () => {
    const answer = answerOf(one, 4, { desired: null });
    expect(judge(answer, { current: accepted(one, 3) })).toEqual({
      kind: 'unchanged',
      revision: 4,
      nextHeartbeatMs: 7,
    });
  });

  test('that comes twice changes nothing the second time', () => {
    expect(judge(answerOf(one, 3), { current: accepted(one, 3) })).toMatchObject({ kind: 'unchanged' });
  });

  const refused: [name: string, run: () => Judgement][] = [
    ['unsigned', () => judge(answerOf(one, 1), { tamper: (body) => [body, null] })],
    ['with an empty signature', () => judge(answerOf(one, 1), { tamper: (body) => [body, ''] })],
    [
      'with the signature of another key',
      () => {
        const other = createFakeControl().sign(answerOf(one, 1));
        return judge(answerOf(one, 1), { tamper: (body) => [body, other.signature] });
      },
    ],
    [
      'with one byte changed',
      () => judge(answerOf(one, 1), { tamper: (body, signature) => [body.replace('1', '2'), signature] }),
    ],
    [
      'with a byte more',
      () => judge(answerOf(one, 1), { tamper: (body, signature) => [`${body} `, signature] }),
    ],
    ['of a lower revision', () => judge(answerOf(one, 1), { current: accepted(two, 2) })],
    ['for another node', () => judge(answerOf(one, 1, { node_id: 'n2' }))],
    ['with a wrong digest', () => judge(answerOf(one, 1, { digest: desiredDigest(two) }))],
    ['with an unknown field', () => judge(answerOf(one, 1, { more: 1 }))],
    ['without a desired state that this node lacks', () => judge(answerOf(one, 1, { desired: null }))],
    ['with a function twice', () => judge(answerOf({ functions: [...one.functions, ...two.functions] }, 1))],
    ['that is no object', () => judge([])],
    [
      'with a hostile id',
      () => judge(answerOf({ functions: [{ ...desiredFunction(1, '1.0.0'), function_id: '../../etc' }] }, 1)),
    ],
    [
      'with a hostile version',
      () => judge(answerOf({ functions: [{ ...desiredFunction(1, '1.0.0'), version: '../1.0.0' }] }, 1)),
    ],
  ];
  for (const [name, run] of refused) {
    test(`${name} is refused`, () =>
      expect(run()).toMatchObject({ kind: 'refused', reason: expect.any(String) }));
  }
});

const [A, B, C] = ['a', 'b', 'c'].map((letter) => `ep_${letter.repeat(26)}`) as [string, string, string];
const [NONCE, OLD_NONCE] = ['n'.repeat(22), 'o'.repeat(22)];
const rebase = (epoch: string | null, revision: number, nonce = NONCE): object => ({
  rebase: { epoch, revision, nonce },
});
const succeeds = (epoch: string, revision: number): object => ({ succeeds: { epoch, revision } });

describe('A node that has revision 5 of epoch A', () => {
  const cases: [name: string, answer: object, outcome: string][] = [
    ['takes a higher revision of A', answerOf(one, 6, { epoch: A }), 'accepted'],
    ['takes the same revision of A with another state', answerOf(one, 5, { epoch: A }), 'accepted'],
    ['refuses a lower revision of A', answerOf(one, 4, { epoch: A }), 'revision_below'],
    [
      'refuses a lower revision of A that is of the same state',
      answerOf(two, 4, { epoch: A }),
      'revision_below',
    ],
    ['refuses an answer without an epoch', answerOf(one, 9), 'other_epoch'],
    ['refuses a lower revision of B', answerOf(one, 2, { epoch: B }), 'other_epoch'],
    ['refuses a higher revision of B', answerOf(one, 9, { epoch: B }), 'other_epoch'],
    [
      'follows to B, which continues A from revision 5 on',
      answerOf(one, 6, { epoch: B, ...succeeds(A, 5) }),
      'accepted',
    ],
    [
      'follows to B with the state that it has, and keeps it anew',
      answerOf(two, 6, { epoch: B, ...succeeds(A, 8) }),
      'accepted',
    ],
    [
      'refuses B where A ended before its revision',
      answerOf(one, 6, { epoch: B, ...succeeds(A, 4) }),
      'other_epoch',
    ],
    ['refuses B where B continues C', answerOf(one, 6, { epoch: B, ...succeeds(C, 9) }), 'other_epoch'],
    [
      'refuses a lower revision of B that continues A',
      answerOf(one, 4, { epoch: B, ...succeeds(A, 9) }),
      'other_epoch',
    ],
    ['falls back to B when it is told to', answerOf(one, 2, { epoch: B, ...rebase(A, 5) }), 'accepted'],
    [
      'falls back to B with the state that it has, and keeps it anew',
      answerOf(two, 2, { epoch: B, ...rebase(A, 5) }),
      'accepted',
    ],
    [
      'refuses a statement of an earlier refusal',
      answerOf(one, 2, { epoch: B, ...rebase(A, 5, OLD_NONCE) }),
      'other_epoch',
    ],
    [
      'refuses a statement about less than it has',
      answerOf(one, 2, { epoch: B, ...rebase(A, 4) }),
      'other_epoch',
    ],
    [
      'refuses a statement about more than it has',
      answerOf(one, 2, { epoch: B, ...rebase(A, 6) }),
      'other_epoch',
    ],
    [
      'refuses a statement about another epoch',
      answerOf(one, 2, { epoch: B, ...rebase(C, 5) }),
      'other_epoch',
    ],
    ['refuses a statement about none', answerOf(one, 2, { epoch: B, ...rebase(null, 5) }), 'other_epoch'],
    [
      'refuses a statement without the state',
      answerOf(one, 2, { epoch: B, ...rebase(A, 5), desired: null }),
      'malformed',
    ],
    [
      'refuses a statement for another node',
      answerOf(one, 2, { node_id: 'n2', epoch: B, ...rebase(A, 5) }),
      'malformed',
    ],
    ['refuses an epoch that is no id', answerOf(one, 9, { epoch: '../a' }), 'malformed'],
  ];
  test.each(cases)('%s', (_, answer, outcome) => {
    const judged = judge(answer, { current: accepted(two, 5, A), nonce: NONCE });
    const found: string = judged.kind === 'refused' ? judged.reason : judged.kind;
    expect(found).toBe(outcome);
  });

  test('refuses a statement when it has refused nothing', () => {
    const answer = answerOf(one, 2, { epoch: B, ...rebase(A, 5) });
    expect(judge(answer, { current: accepted(two, 5, A) })).toMatchObject({ reason: 'other_epoch' });
  });

  test('says of what it refuses which epoch and revision it is', () => {
    const judged = judge(answerOf(one, 2, { epoch: B }), { current: accepted(two, 5, A) });
    expect(judged).toMatchObject({ kind: 'refused', epoch: B, revision: 2 });
    const forged = judge(answerOf(one, 6, { epoch: A }), {
      current: accepted(two, 5, A),
      tamper: (body, signature) => [`${body} `, signature],
    });
    expect(forged).toMatchObject({ reason: 'signature_invalid', epoch: null, revision: null });
  });
});

describe('A statement that was used', () => {
  test('takes the node back neither at once nor once it refuses again', () => {
    const used = answerOf(one, 2, { epoch: B, ...rebase(A, 5) });
    expect(judge(used, { current: accepted(two, 5, A), nonce: NONCE })).toMatchObject({ kind: 'accepted' });
    for (const current of [accepted(one, 3, B), accepted(two, 5, B), accepted(two, 5, C)])
      expect(judge(used, { current })).toMatchObject({ kind: 'refused' });
    // The same position in the same epoch again, which only a damaged disk could bring back.
    expect(judge(used, { current: accepted(two, 5, A), nonce: OLD_NONCE })).toMatchObject({
      reason: 'other_epoch',
    });
  });
});

describe('A node whose state was stored by a release without epochs', () => {
  const current = accepted(two, 5);
  test('takes the first epoch that it is told, and no lower revision', () => {
    expect(judge(answerOf(one, 5, { epoch: A }), { current })).toMatchObject({
      kind: 'accepted',
      accepted: { epoch: A, revision: 5 },
    });
    expect(judge(answerOf(one, 4, { epoch: A }), { current })).toMatchObject({ reason: 'revision_below' });
    const told = answerOf(one, 4, { epoch: A, ...rebase(null, 5) });
    expect(judge(told, { current, nonce: NONCE })).toMatchObject({ kind: 'accepted' });
  });
});

test('Text that is no Ed25519 public key gives no key', () => {
  for (const text of ['', 'x'.repeat(42), '!'.repeat(43), 'a'.repeat(44)])
    expect(readControlKey(text)).toBeNull();
});
