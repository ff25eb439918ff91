// Rules for request fields that no schema can express.
import { CodedError } from '../../base/errors.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { CreateVersion, VersionSettings } from '../../model/function.ts';
import { compileSelector } from '../../model/rules/selector.ts';
import { badFields } from '../http/failures.ts';

/** The settings that a request names. Refuses `validation_failed` where `env` is too large as a whole. */
export function settingsOf(body: CreateVersion): Partial<VersionSettings> {
  const { entrypoint, memory_pages, max_execution_ms, isolation, max_reuse, env } = body;
  if (env !== undefined && Buffer.byteLength(JSON.stringify(env)) > FUNCTION_BOUNDS.envBytesMax) {
    const message = `must have at most ${FUNCTION_BOUNDS.envBytesMax} bytes as JSON`;
    throw badFields({ field: 'env', message });
  }
  const named = { entrypoint, memory_pages, max_execution_ms, isolation, max_reuse, env };
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined));
}

/** Refuses `selector_invalid` with what is wrong and where. */
export function requireSelector(source: string): void {
  const outcome = compileSelector(source);
  if (outcome.ok) return;
  const { message, position } = outcome;
  throw new CodedError('selector_invalid', { details: { reason: message, ...position } });
}
