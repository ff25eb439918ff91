// Turns a finished slot into the outcome of its invocation; everything is copied out and checked.
import type { InvocationLogs, InvocationOutcome } from '../../model/invocation.ts';
import { decodeLogRecords } from './log_records.ts';
import type { ResponseHeadDecoder } from './response_head.ts';
import { requestFault, RESULT_ANSWER } from './results.ts';
import { type Ring, TAKEN } from './ring.ts';

/** `at` is the first word of a valid record in `ring.taken`. The slot may be released afterwards. */
export function readOutcome(ring: Ring, at: number, decodeHead: ResponseHeadDecoder): InvocationOutcome {
  const word = (index: number): number => ring.taken[at + index] ?? 0;
  const slot = word(TAKEN.slot);
  const result = word(TAKEN.result);
  const logs = readLogs(ring, slot, word(TAKEN.logBytes), word(TAKEN.logDropped));
  if (result !== RESULT_ANSWER) {
    return { kind: 'fault', ...requestFault(result, ring.takenSigned[at + TAKEN.detail] ?? 0), logs };
  }
  const status = word(TAKEN.status);
  const head = decodeHead(status, ring.responseHead(slot, word(TAKEN.responseHeadBytes)));
  if (!head.ok) return { kind: 'fault', code: 'invalid_guest_response', detail: head.detail, logs };
  const body = ring.responseBody(slot, word(TAKEN.responseBodyBytes));
  return { kind: 'answer', status, headers: head.headers, body, logs };
}

function readLogs(ring: Ring, slot: number, bytes: number, dropped: number): InvocationLogs | null {
  if (bytes === 0 && dropped === 0) return null;
  return decodeLogRecords(ring.log(slot, bytes), dropped);
}
