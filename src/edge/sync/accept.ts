// Judges the answer to a heartbeat: its signature, its form, its addressee, its epoch and its revision.
import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import type { Position, RefusalReason } from '../../model/epoch.ts';
import { desiredDigest } from '../../model/rules/desired.ts';
import { DesiredState, HeartbeatAnswer } from '../../model/protocol.ts';

/**
 * A desired state that this node has accepted; `digest` is that of `desired`. `epoch` is null for a state that
 * a release without epochs stored.
 */
export type Accepted = Position & { digest: string; desired: DesiredState };

/** `unchanged`: this node has the same desired state already; `revision` may have risen. */
export type Judgement =
  | { kind: 'accepted'; accepted: Accepted; nextHeartbeatMs: number }
  | { kind: 'unchanged'; revision: number; nextHeartbeatMs: number }
  | Refused;

/** `text` says more than `reason`. `epoch` and `revision` are those of an answer that was signed and read. */
export type Refused = {
  kind: 'refused';
  reason: RefusalReason;
  text: string;
  epoch: string | null;
  revision: number | null;
};

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
 * Why an answer of this epoch and revision must not follow `current`; null where it may. Within an epoch
 * revisions only rise. Another epoch follows where the control plane says that it continues this one, and
 * that this node has nothing of what was lost; or where it says, to the refusal with this nonce, that the node
 * is to leave exactly what it has. So no answer of an earlier time takes a node back.
 */
function outOfOrder(
  current: Accepted,
  answer: HeartbeatAnswer,
  nonce: string | null,
): { reason: RefusalReason; text: string } | null {
  const { epoch = null, revision, succeeds, rebase } = answer;
  const isHere = (position: Position | undefined): boolean => position?.epoch === current.epoch;
  if (nonce !== null && rebase?.nonce === nonce && isHere(rebase) && rebase.revision === current.revision)
    return null;
  if (current.epoch !== null && epoch !== current.epoch) {
    const isContinued = isHere(succeeds) && current.revision <= (succeeds?.revision ?? -1);
    if (isContinued && epoch !== null && revision >= current.revision) return null;
    const here = `this node has revision ${current.revision} of ${current.epoch}`;
    return { reason: 'other_epoch', text: `it is of the epoch ${epoch ?? 'none'}, and ${here}` };
  }
  if (revision >= current.revision) return null;
  const text = `its revision ${revision} is below ${current.revision}, which this node has`;
  return { reason: 'revision_below', text };
}

/**
 * `signature` is the header `x-edge-signature`: Ed25519 over exactly `bytes`, base64url. `key` is the pinned
 * key of the control plane, `current` what this node has accepted so far, `nonce` that of its refusal.
 */
export function judgeAnswer(options: {
  bytes: Uint8Array;
  signature: string | null;
  key: KeyObject;
  nodeId: string;
  current: Accepted | null;
  nonce: string | null;
}): Judgement {
  const { bytes, signature, key, nodeId, current, nonce } = options;
  const forged = (text: string): Refused => refusal('signature_invalid', text);
  if (signature === null || !/^[A-Za-z0-9_-]{86}$/.test(signature)) return forged('it is not signed');
  if (!verify(null, bytes, key, Buffer.from(signature, 'base64url')))
    return forged('its signature is not that of the control plane that this node has joined');
  const answer = parse(bytes);
  if (!answerCheck.Check(answer)) return refusal('malformed', 'it is not well formed');
  if (answer.node_id !== nodeId) return refusal('malformed', 'it is for another node');
  const fault = current === null ? null : outOfOrder(current, answer, nonce);
  if (fault !== null) return refusal(fault.reason, fault.text, answer);
  return judgeState(answer, current);
}

function judgeState(answer: HeartbeatAnswer, current: Accepted | null): Judgement {
  const { epoch = null, revision, digest, desired, next_heartbeat_ms: nextHeartbeatMs } = answer;
  const isSame = current !== null && current.digest === digest && current.epoch === epoch;
  if (desired === null) {
    if (isSame) return { kind: 'unchanged', revision, nextHeartbeatMs };
    return refusal('malformed', 'it lacks the desired state, and this node has another one', answer);
  }
  if (!isDesiredState(desired)) return refusal('malformed', 'it names a function twice', answer);
  if (desiredDigest(desired) !== digest)
    return refusal('malformed', 'its desired state has another digest', answer);
  if (isSame) return { kind: 'unchanged', revision, nextHeartbeatMs };
  return { kind: 'accepted', accepted: { epoch, revision, digest, desired }, nextHeartbeatMs };
}

function refusal(reason: RefusalReason, text: string, answer?: HeartbeatAnswer): Refused {
  const { epoch = null, revision = null } = answer ?? {};
  return { kind: 'refused', reason, text, epoch, revision };
}

/** An accepted answer as it came, with the key that signed it. */
export type SignedAnswer = { bytes: Uint8Array; signature: string; key: string };

/** What `readStored` reads: one line with the signature and the key, then the bytes of the answer. */
export function encodeStored({ bytes, signature, key }: SignedAnswer): Uint8Array {
  return Buffer.concat([Buffer.from(`${signature} ${key}\n`), bytes]);
}

/** `signedBy`: the key of the control plane of now, or of the one that the node belonged to before. */
export type Stored = { accepted: Accepted; signedBy: string };

/**
 * What an earlier process of this node stored; null when it is damaged, or was not signed by the control
 * plane, of now or before. `key` is the pinned key; where a node has lost that, the stored one shows at least
 * that the answer is whole.
 */
export function readStored(
  stored: Uint8Array,
  { key, formerKey, nodeId }: { key: string | null; formerKey: string | null; nodeId: string },
): Stored | null {
  const end = stored.indexOf(0x0a);
  if (end < 0) return null;
  const [signature = '', storedKey = ''] = Buffer.from(stored.subarray(0, end)).toString('latin1').split(' ');
  const signedBy = key === null || storedKey === formerKey ? storedKey : key;
  const publicKey = readControlKey(signedBy);
  if (publicKey === null) return null;
  const bytes = stored.subarray(end + 1);
  const judged = judgeAnswer({ bytes, signature, key: publicKey, nodeId, current: null, nonce: null });
  return judged.kind === 'accepted' ? { accepted: judged.accepted, signedBy } : null;
}
