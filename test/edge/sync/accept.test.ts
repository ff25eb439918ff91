// Which answers of a control plane a node accepts, and which stored states.
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
const accepted = (desired: DesiredState, revision: number): Accepted => ({
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
  options: { current?: Accepted; tamper?: (body: string, signature: string) => [string, string | null] } = {},
): Judgement {
  const { body, signature } = control.sign(answer);
  const [sent, signed] = options.tamper?.(body, signature) ?? [body, signature];
  const bytes = new TextEncoder().encode(sent);
  return judgeAnswer({ bytes, signature: signed, key, nodeId: 'n1', current: options.current ?? null });
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

test('Text that is no Ed25519 public key gives no key', () => {
  for (const text of ['', 'x'.repeat(42), '!'.repeat(43), 'a'.repeat(44)])
    expect(readControlKey(text)).toBeNull();
});
