// Schemas of names, ids, versions, environment variables and labels.
import { Type } from '@sinclair/typebox';
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';

/** Name of a function or a project; no two functions of a project share one. */
export const Name = Type.String({
  pattern: '^[a-z0-9-]{1,63}$',
  description: 'lower-case letters, digits and dashes',
});

/** The project of functions that name none. */
export const PROJECT_DEFAULT = 'default';

/** Ids of nodes and pops, which operators choose; they appear in paths and metrics. */
export const NodeId = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' });
export const PopId = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' });

/** Ids that the control plane makes (`base/id.ts`). */
export const Id = Type.String({ pattern: '^[a-z]{1,8}_[0-9a-z]{26}$' });

/** Semantic version 2.0.0 without build metadata, so that it is safe in a path and in a file name. */
export const Semver = Type.String({
  pattern: '^(0|[1-9]\\d{0,8})\\.(0|[1-9]\\d{0,8})\\.(0|[1-9]\\d{0,8})(-[0-9A-Za-z][0-9A-Za-z.-]{0,40})?$',
});

export const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });

/** The export that answers requests. */
export const Entrypoint = Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_.-]{0,127}$' });

export const ENV_NAME_PATTERN = '^[A-Za-z_][A-Za-z0-9_]{0,127}$';

/** Environment variables of a version, which its guest reads with `env_get`. */
export const Env = Type.Record(
  Type.String({ pattern: ENV_NAME_PATTERN }),
  Type.String({ maxLength: 8_192 }),
  {
    maxProperties: FUNCTION_BOUNDS.envEntriesMax,
    additionalProperties: false,
  },
);

export const LABEL_NAME_PATTERN = '^[A-Za-z_][A-Za-z0-9_]{0,62}$';
const LabelName = Type.String({ pattern: LABEL_NAME_PATTERN });
const LabelValue = Type.Union([Type.String({ maxLength: 256 }), Type.Number(), Type.Boolean()]);
const labelBounds = { maxProperties: FUNCTION_BOUNDS.labelsMax, additionalProperties: false };

/** What operators say about a node and selectors read; numbers and booleans keep their type. */
export const Labels = Type.Record(LabelName, LabelValue, labelBounds);
export type Labels = { [name: string]: string | number | boolean };

/** Null removes a label. */
export const LabelChanges = Type.Record(LabelName, Type.Union([LabelValue, Type.Null()]), labelBounds);
export type LabelChanges = { [name: string]: string | number | boolean | null };

/** The value of a label as a person writes it: what looks like a number or a truth value is one. */
export function labelValue(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  return /^-?\d{1,15}(\.\d{1,9})?$/.test(text) ? Number(text) : text;
}
