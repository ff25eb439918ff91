// Artifacts over HTTP: the presigned PUT, the one-call upload, and the download by version.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { CodedError } from '../../base/errors.ts';
import { Version } from '../../model/function.ts';
import { Semver } from '../../model/names.ts';
import type { Store } from '../../store/store.ts';
import type { Mutations } from '../http/mutations.ts';
import type { RequestContexts } from '../http/request_context.ts';
import type { Publish } from '../publish/publish.ts';
import type { Sync } from '../sync/sync.ts';
import { createResource, FunctionParams } from './resource.ts';

const ArtifactParams = Type.Object({ function_id: Type.String(), version: Type.String() });
const SignedQuery = Type.Object({
  expires: Type.String({ pattern: '^[0-9]{1,16}$' }),
  signature: Type.String({ maxLength: 64 }),
});
const UploadQuery = Type.Object({ version: Type.Optional(Semver) }, { additionalProperties: false });

export function artifactsApi(options: {
  versions: Pick<Store['versions'], 'get'>;
  publish: Pick<Publish, 'uploadSigned' | 'upload' | 'openArtifact'>;
  sync: Pick<Sync, 'isDesired'>;
  contexts: RequestContexts;
  mutations: Mutations;
}): AnyElysia {
  const { versions, publish, sync, contexts, mutations } = options;
  return createResource('/api/v1')
    .put(
      '/uploads/:function_id/:version',
      ({ params, query, request, status }) =>
        publish.uploadSigned({
          key: params,
          signed: query,
          request,
          commit: (apply) =>
            mutations.run(request, async (store) => status(200, (await apply(store.versions)).version)),
        }),
      { params: ArtifactParams, query: SignedQuery, parse: 'none', response: { 200: Version } },
    )
    .post(
      '/functions/:id/upload',
      ({ params, query, request, status }) => {
        return publish.upload({
          function_id: params.id,
          version: query.version,
          request,
          actor: contexts.actorOf(request),
          commit: (apply) =>
            mutations.run(request, async (store) => {
              const { version, changed } = await apply(store.versions);
              return status(changed ? 201 : 200, version);
            }),
        });
      },
      { params: FunctionParams, query: UploadQuery, parse: 'none', response: { 200: Version, 201: Version } },
    )
    .get(
      '/artifacts/:function_id/:version',
      async ({ params, request }) => {
        const { caller } = contexts.of(request);
        if (caller?.kind === 'node' && !(await sync.isDesired(caller.nodeId, params)))
          throw new CodedError('forbidden');
        return await download(publish, await versions.get(params), request);
      },
      { params: ArtifactParams },
    );
}

/** Refuses `version_not_published` and `artifact_unavailable`. */
async function download(
  publish: Pick<Publish, 'openArtifact'>,
  { sha256, size_bytes }: Version,
  request: Request,
): Promise<Response> {
  if (sha256 === null) throw new CodedError('version_not_published');
  const headers = { etag: `"${sha256}"`, 'cache-control': 'private, immutable' };
  if (isMatch(request.headers.get('if-none-match'), sha256))
    return new Response(null, { status: 304, headers });
  const file = await publish.openArtifact(sha256);
  if (file === null) throw new CodedError('artifact_unavailable');
  return new Response(file, {
    headers: {
      ...headers,
      'content-type': 'application/wasm',
      'content-length': String(size_bytes ?? file.size),
    },
  });
}

/** RFC 9110, 13.1.2: `condition` is a list of entity tags, compared weakly, or `*`. */
function isMatch(condition: string | null, sha256: string): boolean {
  const tags = (condition ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return tags.includes('*') || tags.includes(`"${sha256}"`);
}
