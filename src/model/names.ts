// The shapes of names, ids and versions that users choose, as schemas that every border shares.
import { Type } from '@sinclair/typebox';
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';

/** Function and project names; unique in a project (spec 1.1). */
export const Name = Type.String({
  pattern: '^[a-z0-9-]{1,63}$',
  description: 'lower-case letters, digits and dashes',
});

/** Ids of nodes and pops: chosen by operators, shown in paths and metrics. */
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

export const EnvName = '^[A-Za-z_][A-Za-z0-9_]{0,127}$';

/** Settings that a version's guest reads with `env_get`. */
export const Env = Type.Record(Type.String({ pattern: EnvName }), Type.String({ maxLength: 8_192 }), {
  maxProperties: FUNCTION_BOUNDS.envEntriesMax,
  additionalProperties: false,
});

/** What operators say of a node, and what selectors read; numbers and truth values keep their type. */
export const Labels = Type.Record(
  Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,62}$' }),
  Type.Union([Type.String({ maxLength: 256 }), Type.Number(), Type.Boolean()]),
  { maxProperties: FUNCTION_BOUNDS.labelsMax, additionalProperties: false },
);
export type Labels = { [name: string]: string | number | boolean };
