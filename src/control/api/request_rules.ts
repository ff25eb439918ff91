// Rules for request fields that no schema can express.
import { CodedError } from '../../base/errors.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { CreateVersion, VersionSettings } from '../../model/function.ts';
import { compileSelector } from '../../model/target/selector.ts';
import { RESERVED_LABELS } from '../../model/target/selector_words.ts';
import { invalidSelector } from '../../model/target/target_check.ts';
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

/** Refuses `selector_invalid` with what is wrong and where; the names are checked by the deploy. */
export function requireSelector(source: string): void {
  const outcome = compileSelector(source);
  if (outcome.ok) return;
  const { code, message, details = {} } = invalidSelector(outcome.message, outcome.position);
  throw new CodedError(code, { message, details });
}

/** Refuses `validation_failed` for a name that means something else in selectors. */
export function requireLabelNames(labels: Readonly<Record<string, unknown>>): void {
  const reserved = Object.keys(labels).find((name) => RESERVED_LABELS.has(name.toLowerCase()));
  if (reserved === undefined) return;
  throw badFields({ field: `labels.${reserved}`, message: 'is a word of selectors: choose another name' });
}
