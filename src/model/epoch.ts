// Epochs: within which revisions can be compared, and why a node refuses what its control plane sends.
import { type Static, Type } from '@sinclair/typebox';

/** Made by the control plane for each history of its database; a restored database begins another one. */
export const EpochId = Type.String({ pattern: '^ep_[0-9a-z]{26}$' });

/** What a node has accepted last; `epoch` is null for a state of a release that had none. */
export const Position = Type.Object(
  {
    epoch: Type.Union([EpochId, Type.Null()]),
    revision: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  },
  { additionalProperties: false },
);
export type Position = Static<typeof Position>;

/** 128 random bits of a node, base64url: a statement that holds them was made after it refused. */
const Nonce = Type.String({ pattern: '^[A-Za-z0-9_-]{22}$' });

const RefusalReason = Type.Union([
  Type.Literal('revision_below'),
  Type.Literal('other_epoch'),
  Type.Literal('signature_invalid'),
  Type.Literal('malformed'),
]);
export type RefusalReason = Static<typeof RefusalReason>;

/** Why, in words that hold on both sides. */
export const REFUSALS: Record<RefusalReason, string> = {
  revision_below: 'the control plane is behind what the node has accepted',
  other_epoch: 'the control plane was restored, and the node has what came after the backup',
  signature_invalid: 'the signature is not that of the key that the node got when it joined',
  malformed: 'the answer is not well formed',
};

/** What an operator ends with a rebase; the others end when the node joins again, or with a good answer. */
export function endsWithRebase(reason: RefusalReason): boolean {
  return reason === 'revision_below' || reason === 'other_epoch';
}

/**
 * That a node refuses what it was sent. `epoch` and `revision` are those of the answer that it refused; null
 * where it could not read them.
 */
export const Refusal = Type.Object(
  {
    reason: RefusalReason,
    epoch: Type.Union([EpochId, Type.Null()]),
    revision: Type.Union([Position.properties.revision, Type.Null()]),
    nonce: Nonce,
  },
  { additionalProperties: false },
);
export type Refusal = Static<typeof Refusal>;

/** What operators see of a refusal; `since` is when the control plane was told first. */
export const Divergence = Type.Object({
  reason: RefusalReason,
  /** What the node has. */
  has: Position,
  since: Type.String(),
});
export type Divergence = Static<typeof Divergence>;

/** Signed for one node that has exactly this: it leaves that for the answer that holds the statement. */
export const Rebase = Type.Object({ ...Position.properties, nonce: Nonce }, { additionalProperties: false });
export type Rebase = Static<typeof Rebase>;
