// Reads a finished slot into the outcome of its invocation; every byte is copied out, then checked.
import type { GuestFault, InvocationLogs, InvocationOutcome } from '../../model/invocation.ts';
import { decodeLogRecords } from './log_records.ts';
import { createResponseHeadDecoder } from './response_head.ts';
import { type FaultWords, requestFault, RESULT_ANSWER, startFault } from './results.ts';
import type { SlotViews } from './slot_views.ts';

/** Positions of the words in one record of a drain (`edge_ring_drain` in native/ring.h). */
export const TAKEN = {
  slot: 0,
  generation: 1,
  state: 2,
  result: 3,
  detail: 4,
  status: 5,
  responseHeadBytes: 6,
  responseBodyBytes: 7,
  logBytes: 8,
  logDropped: 9,
  cpuUs: 10,
  isValid: 11,
  words: 12,
} as const;

/** The longest text of a fault (`EDGE_SUBJECT_BYTES`). */
export const SUBJECT_BYTES = 256;

/** Each takes the first word of a valid record; the slot may be released afterwards. */
export type AnswerReader = {
  answer(record: number): InvocationOutcome;
  startFault(record: number): GuestFault;
  /** Null where the guest logged nothing. */
  logs(slot: number, bytes: number, dropped: number): InvocationLogs | null;
};

export function createAnswerReader(options: {
  views: SlotViews;
  taken: Uint32Array;
  takenSigned: Int32Array;
}): AnswerReader {
  const { taken, takenSigned, views } = options;
  const decodeHead = createResponseHeadDecoder();
  const readLogs = (slot: number, bytes: number, dropped: number): InvocationLogs | null => {
    if (bytes === 0 && dropped === 0) return null;
    return decodeLogRecords(views.log(slot, bytes), dropped);
  };
  const faultWords = (record: number): FaultWords => ({
    detail: takenSigned[record + TAKEN.detail] ?? 0,
    status: taken[record + TAKEN.status] ?? 0,
    subject: views.responseHead(
      taken[record + TAKEN.slot] ?? 0,
      Math.min(taken[record + TAKEN.responseHeadBytes] ?? 0, SUBJECT_BYTES),
    ),
  });
  const answer = (record: number): InvocationOutcome => {
    const word = (index: number): number => taken[record + index] ?? 0;
    const slot = word(TAKEN.slot);
    const result = word(TAKEN.result);
    const logs = readLogs(slot, word(TAKEN.logBytes), word(TAKEN.logDropped));
    if (result !== RESULT_ANSWER) {
      const { code, detail } = requestFault(result, faultWords(record));
      return { kind: 'fault', code, detail, logs };
    }
    const status = word(TAKEN.status);
    const head = decodeHead(status, views.responseHead(slot, word(TAKEN.responseHeadBytes)));
    if (!head.ok) return { kind: 'fault', code: 'invalid_guest_response', detail: head.detail, logs };
    const body = views.responseBody(slot, word(TAKEN.responseBodyBytes));
    return { kind: 'answer', status, headers: head.headers, body, logs };
  };
  return {
    answer,
    startFault: (record) => startFault(taken[record + TAKEN.result] ?? 0, faultWords(record)),
    logs: readLogs,
  };
}
