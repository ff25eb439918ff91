// The one place that turns whatever went wrong in a request into an answer of the error table.
import { ParseError, ValidationError } from 'elysia';
import { CodedError, errorResponse } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';

const FIELDS_SHOWN_MAX = 50;
const FIELD_LENGTH_MAX = 200;

/** One bad field of a request; `field` is a dotted path, empty for the request as a whole. */
export type BadField = { field: string; message: string };

/** A refusal of fields whose rule no schema can say. */
export function badFields(...fields: BadField[]): CodedError {
  return new CodedError('validation_failed', { details: { fields } });
}

/** Never shows a client the message of an unexpected failure; the log has it, with the request id. */
export function failureResponse(
  failure: unknown,
  options: { requestId: string; log: Log; isUnrouted: boolean },
): Response {
  const { requestId, log } = options;
  const refusal = options.isUnrouted ? new CodedError('not_found') : refusalOf(failure);
  if (refusal !== null) {
    const { code, message, details } = refusal;
    const headers = code === 'overloaded' ? { headers: { 'retry-after': '1' } } : {};
    return errorResponse(code, requestId, { message, details, ...headers });
  }
  const stack = failure instanceof Error ? failure.stack : undefined;
  log.error('a request failed', { request_id: requestId, error: String(failure), stack });
  return errorResponse('internal', requestId);
}

/** An `AbortError` is a caller who left; nobody reads that answer, and no log line is for it. */
function refusalOf(failure: unknown): CodedError | null {
  if (failure instanceof CodedError) return failure;
  if (failure instanceof Error && failure.name === 'AbortError') return new CodedError('bad_request');
  if (failure instanceof ParseError) {
    return failure.cause instanceof CodedError ? failure.cause : new CodedError('bad_request');
  }
  if (failure instanceof ValidationError && failure.type !== 'response')
    return badFields(...fieldsOf(failure));
  return null;
}

/** Bounded: a hostile body can be wrong in a million places. */
function fieldsOf(failure: ValidationError): BadField[] {
  const fields = new Map<string, BadField>();
  const errors = 'Errors' in failure.validator ? failure.validator.Errors(failure.value) : [];
  for (const { path, message } of errors) {
    const field = fieldName(path);
    if (!fields.has(field))
      fields.set(field, { field, message: message === 'Unexpected property' ? 'unknown field' : message });
    if (fields.size >= FIELDS_SHOWN_MAX) break;
  }
  return [...fields.values()];
}

/** From a JSON pointer to a dotted path. */
function fieldName(pointer: string): string {
  const parts = pointer.split('/').slice(1);
  const plain = parts.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  return plain.join('.').slice(0, FIELD_LENGTH_MAX);
}
