// Artifacts in and out: the presigned PUT, the one-call upload, and the download by version.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import { Version } from '../../model/function.ts';
import { Semver } from '../../model/names.ts';
import { boundedBody, timedBody } from '../http/bodies.ts';
import { badFields } from '../http/failures.ts';
import { type ApiParts, createResource, FunctionParams } from './resource.ts';

const ArtifactParams = Type.Object({ function_id: Type.String(), version: Type.String() });
const SignedQuery = Type.Object({
  expires: Type.String({ pattern: '^[0-9]{1,16}$' }),
  signature: Type.String({ maxLength: 64 }),
});
const UploadQuery = Type.Object({ version: Type.Optional(Semver) }, { additionalProperties: false });

/** Room for the boundaries and headers of a multipart body. */
const MULTIPART_BYTES = 64 * 1024;

export function artifactsApi(parts: ApiParts): AnyElysia {
  const { uploadUrls, uploads, publisher, contexts, clock } = parts;
  return createResource('/api/v1')
    .put(
      '/uploads/:function_id/:version',
      async ({ params, query, request }) => {
        uploadUrls.verify(params, query);
        requireLength(request);
        const { version } = await uploads.enter(() => {
          const body = timedBody(request.body, { clock, ms: CONTROL_BOUNDS.uploadBodyMs });
          return publisher.publish({ ...params, body, actor: 'upload-url' });
        });
        return version;
      },
      { params: ArtifactParams, query: SignedQuery, parse: 'none', response: { 200: Version } },
    )
    .post(
      '/functions/:id/upload',
      async ({ params, query, request, status }) => {
        const actor = contexts.actorOf(request);
        const { version, changed } = await uploads.enter(() => {
          return upload(parts, { function_id: params.id, version: query.version, request, actor });
        });
        return status(changed ? 201 : 200, version);
      },
      { params: FunctionParams, query: UploadQuery, parse: 'none', response: { 200: Version, 201: Version } },
    )
    .get('/artifacts/:function_id/:version', ({ params, request }) => download(parts, params, request), {
      params: ArtifactParams,
    });
}

async function upload(
  parts: ApiParts,
  input: { function_id: string; version: string | undefined; request: Request; actor: string },
): Promise<{ version: Version; changed: boolean }> {
  const { store, publisher } = parts;
  const { function_id, request, actor } = input;
  await store.functions.get(function_id);
  const { body, version: named } = await bodyOf(request, parts.clock);
  const wanted = input.version ?? named ?? (await store.versions.newestPending(function_id))?.version;
  const version =
    wanted ?? (await store.versions.create({ function_id, version: undefined, settings: {}, actor })).version;
  return await publisher.publish({ function_id, version, body, actor });
}

/** What says beforehand that it is too large is not read at all. */
function requireLength(request: Request): void {
  if (Number(request.headers.get('content-length') ?? 0) > FUNCTION_BOUNDS.artifactBytesMax) {
    throw new CodedError('artifact_too_large', { details: { bytes_max: FUNCTION_BOUNDS.artifactBytesMax } });
  }
}

/** The raw body, or the field `file` of a multipart one with its field `version`. */
async function bodyOf(
  request: Request,
  clock: Clock,
): Promise<{ body: ReadableStream<Uint8Array> | null; version: string | undefined }> {
  const type = request.headers.get('content-type') ?? '';
  const timed = { clock, ms: CONTROL_BOUNDS.uploadBodyMs };
  if (!type.startsWith('multipart/form-data')) {
    requireLength(request);
    return { body: timedBody(request.body, timed), version: undefined };
  }
  const bounded = boundedBody(request, FUNCTION_BOUNDS.artifactBytesMax + MULTIPART_BYTES);
  const form = await formOf(timedBody(bounded, timed), type);
  const file = form.get('file');
  const version = form.get('version');
  if (!(file instanceof Blob)) throw badFields({ field: 'file', message: 'must be a file' });
  if (version === null) return { body: file.stream(), version: undefined };
  if (typeof version !== 'string' || !new RegExp(Semver.pattern ?? '').test(version)) {
    throw badFields({ field: 'version', message: 'must be a semantic version' });
  }
  return { body: file.stream(), version };
}

type Form = Awaited<ReturnType<Response['formData']>>;

async function formOf(body: ReadableStream<Uint8Array> | null, type: string): Promise<Form> {
  try {
    return await new Response(body, { headers: { 'content-type': type } }).formData();
  } catch (failure) {
    if (failure instanceof CodedError && failure.code === 'request_timeout') throw failure;
    if (failure instanceof CodedError) throw new CodedError('artifact_too_large');
    throw new CodedError('bad_request', { message: 'The multipart body could not be read.' });
  }
}

/** A node gets only what its desired state names; to it, everything else does not exist. */
async function download(
  parts: ApiParts,
  key: { function_id: string; version: string },
  request: Request,
): Promise<Response> {
  const { store, artifacts, sync, contexts } = parts;
  const { caller } = contexts.of(request);
  if (caller?.kind === 'node' && !(await sync.isDesired(caller.nodeId, key)))
    throw new CodedError('forbidden');
  const { sha256, size_bytes } = await store.versions.get(key);
  if (sha256 === null) throw new CodedError('version_not_published');
  const headers = { etag: `"${sha256}"`, 'cache-control': 'private, immutable' };
  if (matches(request.headers.get('if-none-match'), sha256))
    return new Response(null, { status: 304, headers });
  const file = await artifacts.open(sha256);
  if (file === null) throw new CodedError('artifact_unavailable');
  return new Response(file, {
    headers: {
      ...headers,
      'content-type': 'application/wasm',
      'content-length': String(size_bytes ?? file.size),
    },
  });
}

/** RFC 9110, 13.1.2: a list of entity tags, compared weakly, or `*`. */
function matches(condition: string | null, sha256: string): boolean {
  const tags = (condition ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return tags.includes('*') || tags.includes(`"${sha256}"`);
}
