// Judges the answer to a heartbeat: its signature, its form, its addressee and its revision.
import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { desiredDigest } from '../../model/rules/desired.ts';
import { DesiredState, HeartbeatAnswer } from '../../model/protocol.ts';

/** A desired state that this node has accepted; `digest` is that of `desired`. */
export type Accepted = { revision: number; digest: string; desired: DesiredState };

/** `unchanged`: this node has the same desired state already; `revision` may have risen. */
export type Judgement =
  | { kind: 'accepted'; accepted: Accepted; nextHeartbeatMs: number }
  | { kind: 'unchanged'; revision: number; nextHeartbeatMs: number }
  | { kind: 'refused'; reason: string };

const answerCheck = TypeCompiler.Compile(HeartbeatAnswer);
const desiredCheck = TypeCompiler.Compile(DesiredState);

/** `key` is the raw 32 bytes of an Ed25519 public key as base64url; null for anything else. */
export function readControlKey(key: string): KeyObject | null {
  if (!/^[A-Za-z0-9_-]{43}$/.test(key)) return null;
  try {
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: key }, format: 'jwk' });
  } catch {
    return null;
  }
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

/** Each function occurs once: otherwise two versions would take turns. */
function isDesiredState(value: unknown): value is DesiredState {
  if (!desiredCheck.Check(value)) return false;
  return new Set(value.functions.map(({ function_id }) => function_id)).size === value.functions.length;
}

/**
 * `signature` is the header `x-edge-signature`: Ed25519 over exactly `bytes`, base64url. `key` is the pinned
 * key of the control plane, `current` what this node has accepted so far.
 */
export function judgeAnswer(options: {
  bytes: Uint8Array;
  signature: string | null;
  key: KeyObject;
  nodeId: string;
  current: Accepted | null;
}): Judgement {
  const { bytes, signature, key, nodeId, current } = options;
  const refused = (reason: string): Judgement => ({ kind: 'refused', reason });
  if (signature === null || !/^[A-Za-z0-9_-]{86}$/.test(signature)) return refused('it is not signed');
  if (!verify(null, bytes, key, Buffer.from(signature, 'base64url')))
    return refused('its signature is not valid');
  const answer = parse(bytes);
  if (!answerCheck.Check(answer)) return refused('it is not well formed');
  if (answer.node_id !== nodeId) return refused('it is for another node');
  const { revision, digest, desired, next_heartbeat_ms: nextHeartbeatMs } = answer;
  if (current !== null && revision < current.revision) {
    return refused(`its revision ${revision} is below ${current.revision}, which this node has`);
  }
  if (desired === null) {
    if (current?.digest !== digest)
      return refused('it lacks the desired state, and this node has another one');
    return { kind: 'unchanged', revision, nextHeartbeatMs };
  }
  if (!isDesiredState(desired)) return refused('it names a function twice');
  if (desiredDigest(desired) !== digest) return refused('its desired state has another digest');
  if (current?.digest === digest) return { kind: 'unchanged', revision, nextHeartbeatMs };
  return { kind: 'accepted', accepted: { revision, digest, desired }, nextHeartbeatMs };
}

/** An accepted answer as it came, with the key that signed it. */
export type SignedAnswer = { bytes: Uint8Array; signature: string; key: string };

/** What `readStored` reads: one line with the signature and the key, then the bytes of the answer. */
export function encodeStored({ bytes, signature, key }: SignedAnswer): Uint8Array {
  return Buffer.concat([Buffer.from(`${signature} ${key}\n`), bytes]);
}

/**
 * What an earlier process of this node stored; null when it is damaged, or was not signed by the control
 * plane. `key` is the pinned key; where a node has lost that, the stored one shows at least that the answer
 * is whole.
 */
export function readStored(
  stored: Uint8Array,
  { key, nodeId }: { key: string | null; nodeId: string },
): Accepted | null {
  const end = stored.indexOf(0x0a);
  if (end < 0) return null;
  const [signature = '', storedKey = ''] = Buffer.from(stored.subarray(0, end)).toString('latin1').split(' ');
  const publicKey = readControlKey(key ?? storedKey);
  if (publicKey === null) return null;
  const bytes = stored.subarray(end + 1);
  const judged = judgeAnswer({ bytes, signature, key: publicKey, nodeId, current: null });
  return judged.kind === 'accepted' ? judged.accepted : null;
}
