// A function and its versions: their schemas, their settings, and the requests that create them.
import { type Static, Type } from '@sinclair/typebox';
import { FUNCTION_BOUNDS, FUNCTION_DEFAULTS } from '../base/limits/function.ts';
import { Entrypoint, Env, Name, Semver, Sha256 } from './names.ts';

/** `clean`: each request gets a pristine instance. `reuse`: an instance keeps its state between requests. */
export const Isolation = Type.Union([Type.Literal('clean'), Type.Literal('reuse')]);
export type Isolation = Static<typeof Isolation>;

const MemoryPages = Type.Integer({ minimum: 1, maximum: FUNCTION_BOUNDS.memoryPagesMax });
const ExecutionMs = Type.Integer({ minimum: 1, maximum: FUNCTION_BOUNDS.executionMsMax });

/** Settings of one version: everything that an edge needs besides the artifact. */
export const VersionSettings = Type.Object(
  {
    entrypoint: Entrypoint,
    memory_pages: MemoryPages,
    max_execution_ms: ExecutionMs,
    isolation: Isolation,
    /** With `reuse`: the requests that one instance serves before it is replaced. */
    max_reuse: Type.Integer({ minimum: 1, maximum: FUNCTION_BOUNDS.reuseRequestsMax }),
    env: Env,
  },
  { additionalProperties: false },
);
export type VersionSettings = Static<typeof VersionSettings>;

export const defaultVersionSettings: VersionSettings = {
  entrypoint: 'handle',
  memory_pages: FUNCTION_DEFAULTS.memoryPages,
  max_execution_ms: FUNCTION_DEFAULTS.executionMs,
  isolation: 'clean',
  max_reuse: FUNCTION_BOUNDS.reuseRequestsMax,
  env: {},
};

/** `pending`: it has no artifact yet. `published`: the artifact passed its check, and nothing can change. */
const VersionStatus = Type.Union([Type.Literal('pending'), Type.Literal('published')]);

export const Version = Type.Object({
  function_id: Type.String(),
  version: Semver,
  status: VersionStatus,
  settings: VersionSettings,
  sha256: Type.Union([Sha256, Type.Null()]),
  size_bytes: Type.Union([Type.Integer(), Type.Null()]),
  created_at: Type.String(),
  published_at: Type.Union([Type.String(), Type.Null()]),
});
export type Version = Static<typeof Version>;

export const EdgeFunction = Type.Object({
  id: Type.String(),
  project_id: Name,
  name: Name,
  runtime: Type.Literal('wasm'),
  pop_selector: Type.Union([Type.String(), Type.Null()]),
  created_at: Type.String(),
  latest_version: Type.Union([Semver, Type.Null()]),
});
export type EdgeFunction = Static<typeof EdgeFunction>;

const settingsOfRequest = {
  entrypoint: Type.Optional(Entrypoint),
  memory_pages: Type.Optional(MemoryPages),
  max_execution_ms: Type.Optional(ExecutionMs),
  isolation: Type.Optional(Isolation),
  max_reuse: Type.Optional(Type.Integer({ minimum: 1, maximum: FUNCTION_BOUNDS.reuseRequestsMax })),
  env: Type.Optional(Env),
  version: Type.Optional(Semver),
};

/** POST /api/v1/functions creates the function and its first version. */
export const CreateFunction = Type.Object(
  {
    name: Name,
    owner_project_id: Type.Optional(Name),
    runtime: Type.Optional(Type.Literal('wasm')),
    pop_selector: Type.Optional(Type.String({ maxLength: FUNCTION_BOUNDS.selectorLengthMax })),
    ...settingsOfRequest,
  },
  { additionalProperties: false },
);
export type CreateFunction = Static<typeof CreateFunction>;

/** POST /api/v1/functions/:id/versions. Settings that are left out come from the latest version. */
export const CreateVersion = Type.Object(settingsOfRequest, { additionalProperties: false });
export type CreateVersion = Static<typeof CreateVersion>;

/** Where to PUT the artifact of a pending version, and until when. */
export const Upload = Type.Object({ upload_url: Type.String(), expires_at: Type.String() });
