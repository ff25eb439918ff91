// Turns whatever goes wrong in a request into a response of the error table.
import { ParseError, ValidationError } from 'elysia';
import { isStorageFull } from '../../base/durable.ts';
import { CodedError, errorResponse } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';

const FIELDS_SHOWN_MAX = 50;
const FIELD_LENGTH_MAX = 200;

/** `field` is its dotted name in the request, empty for the request as a whole. */
export type BadField = { field: string; message: string };

/** A refusal of fields for a reason that no schema can express. */
export function badFields(...fields: BadField[]): CodedError {
  return new CodedError('validation_failed', { details: { fields } });
}

/** A client never sees the message of an unexpected failure: it goes to the log, with the request id. */
export function failureResponse(
  failure: unknown,
  options: { requestId: string; log: Log; isUnrouted: boolean },
): Response {
  const { requestId, log } = options;
  const refusal = options.isUnrouted ? new CodedError('not_found') : refusalOf(failure);
  if (refusal?.code === 'storage_full')
    log.error('the disk takes nothing more; reads and heartbeats go on', { error: String(failure) });
  if (refusal !== null) {
    const { code, message, details } = refusal;
    const headers: Record<string, string> = code === 'overloaded' ? { 'retry-after': '1' } : {};
    return errorResponse(code, requestId, { message, details, headers });
  }
  const stack = failure instanceof Error ? failure.stack : undefined;
  log.error('a request failed', { request_id: requestId, error: String(failure), stack });
  return errorResponse('internal', requestId);
}

/** Null for an unexpected failure. An `AbortError` means that the caller left: nobody reads the response. */
function refusalOf(failure: unknown): CodedError | null {
  if (failure instanceof CodedError) return failure;
  if (isStorageFull(failure)) return new CodedError('storage_full');
  if (failure instanceof Error && failure.name === 'AbortError') return new CodedError('bad_request');
  if (failure instanceof ParseError)
    return failure.cause instanceof CodedError ? failure.cause : new CodedError('bad_request');
  if (failure instanceof ValidationError && failure.type !== 'response')
    return badFields(...fieldsOf(failure));
  return null;
}

/** The first error of each of `FIELDS_SHOWN_MAX` fields: a body can be wrong in a million places. */
function fieldsOf(failure: ValidationError): BadField[] {
  const fields = new Map<string, BadField>();
  const errors = 'Errors' in failure.validator ? failure.validator.Errors(failure.value) : [];
  for (const { path: pointer, message } of errors) {
    const field = fieldOf(pointer);
    if (!fields.has(field))
      fields.set(field, { field, message: message === 'Unexpected property' ? 'unknown field' : message });
    if (fields.size >= FIELDS_SHOWN_MAX) break;
  }
  return [...fields.values()];
}

/** From a JSON pointer to a dotted name. */
function fieldOf(pointer: string): string {
  const keys = pointer.split('/').slice(1);
  const plain = keys.map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  return plain.join('.').slice(0, FIELD_LENGTH_MAX);
}
