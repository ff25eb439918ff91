// What this node refuses: from the first refusal until an answer is accepted again, with what ends it.
import type { RandomBytes } from '../../base/id.ts';
import type { Log } from '../../base/log.ts';
import { endsWithRebase, type Refusal, type RefusalReason } from '../../model/epoch.ts';
import type { Refused } from './accept.ts';

export type Refusals = {
  /** What the next heartbeat says; null while nothing is refused. */
  current(): Refusal | null;
  /** Whether this node and its control plane are apart: one refuses the other. */
  isDiverged(): boolean;
  /** Whether the other side may be a stranger: its next answer is to come at once, to see whether it is. */
  isDoubtful(): boolean;
  /** Answers and refusals of a stranger, one after the other: signed by another key, or with status 401. */
  strangers(): number;
  /** The node refuses an answer. Logs what is new. */
  refused(judged: Refused): void;
  /** The control plane refuses a heartbeat with this status; the node tries again after `retryMs`. */
  rejected(status: number, retryMs: number): void;
  /** An answer was accepted: what was refused is over. */
  over(): void;
};

const NONCE_BYTES = 16;

export function createRefusals(options: { nodeId: string; random: RandomBytes; log: Log }): Refusals {
  const { nodeId, random, log } = options;
  let refusal: Refusal | null = null;
  let isRejected = false;
  let strangers = 0;
  const joinAgain =
    'if it is another control plane, or has another signing key, start this node once with --join-token ' +
    `"$(edge join-token --node ${nodeId})" of that control plane`;
  const nextFor = (reason: RefusalReason): string => {
    if (endsWithRebase(reason)) return `run \`edge node rebase ${nodeId}\` at the control plane`;
    return reason === 'malformed' ? 'upgrade the control plane if it is older than this node' : joinAgain;
  };
  return {
    current: () => refusal,
    isDiverged: () => refusal !== null || isRejected,
    isDoubtful: () => isRejected || (refusal !== null && !endsWithRebase(refusal.reason)),
    strangers: () => strangers,
    refused({ reason, text, epoch, revision }) {
      const isKnown = refusal?.reason === reason && refusal.epoch === epoch && refusal.revision === revision;
      const nonce = refusal?.nonce ?? Buffer.from(random(NONCE_BYTES)).toString('base64url');
      refusal = { reason, epoch, revision, nonce };
      strangers = reason === 'signature_invalid' ? strangers + 1 : 0;
      if (isKnown) return;
      log.error('this node refuses an answer of the control plane and keeps what it serves', {
        reason,
        text,
        next: nextFor(reason),
      });
    },
    rejected(status, retryMs) {
      isRejected = true;
      strangers = status === 401 ? strangers + 1 : 0;
      log.error('the control plane refuses this heartbeat; functions keep answering', {
        status,
        retry_ms: Math.round(retryMs),
        ...(status === 401 ? { next: joinAgain } : {}),
      });
    },
    over() {
      if (refusal !== null || isRejected) log.info('this node and its control plane agree again');
      refusal = null;
      isRejected = false;
      strangers = 0;
    },
  };
}
