// Versions over HTTP: add, find, list, inspect, delete, and issue another upload URL.
import type { AnyElysia } from 'elysia';
import { CodedError } from '../../base/errors.ts';
import { pageOf, VersionCreated } from '../../model/api.ts';
import { CreateVersion, Upload, Version } from '../../model/function.ts';
import { ModuleReport } from '../../model/wasm/report.ts';
import type { Store } from '../../store/store.ts';
import type { VersionKey } from '../../store/versions.ts';
import { jsonBody } from '../http/bodies.ts';
import type { Mutations } from '../http/mutations.ts';
import type { RequestContexts } from '../http/request_context.ts';
import type { Publish } from '../publish/publish.ts';
import { settingsOf } from './request_rules.ts';
import {
  createResource,
  FunctionParams,
  noContent,
  originOf,
  pageAnswer,
  PageQuery,
  pageRequest,
  VersionParams,
} from './resource.ts';

export function versionsApi(options: {
  versions: Store['versions'];
  publish: Pick<Publish, 'uploadUrl' | 'remove'>;
  contexts: RequestContexts;
  mutations: Mutations;
}): AnyElysia {
  const { versions, publish, contexts, mutations } = options;
  return createResource('/api/v1/functions/:id/versions')
    .post(
      '',
      ({ params, body, request, status }) => {
        const actor = contexts.actorOf(request);
        const input = { function_id: params.id, version: body.version, settings: settingsOf(body), actor };
        return mutations.run(request, async (store) => {
          const version = await store.versions.create(input);
          return status(201, { version, ...publish.uploadUrl(version, originOf(request)) });
        });
      },
      {
        params: FunctionParams,
        parse: [jsonBody, 'json'],
        body: CreateVersion,
        response: { 201: VersionCreated },
      },
    )
    .get(
      '',
      async ({ params, query }) => {
        return pageAnswer(await versions.list({ ...pageRequest(query), function_id: params.id }));
      },
      { params: FunctionParams, query: PageQuery, response: { 200: pageOf(Version) } },
    )
    .get('/:version', ({ params }) => versions.get(keyOf(params)), {
      params: VersionParams,
      response: { 200: Version },
    })
    .get('/:version/inspect', ({ params }) => versions.report(keyOf(params)), {
      params: VersionParams,
      response: { 200: ModuleReport },
    })
    .post(
      '/:version/upload-url',
      async ({ params, request }) => {
        const version = await versions.get(keyOf(params));
        if (version.status === 'published') throw new CodedError('version_exists');
        return publish.uploadUrl(version, originOf(request));
      },
      { params: VersionParams, parse: 'none', response: { 200: Upload } },
    )
    .delete(
      '/:version',
      ({ params, request }) => {
        const input = { ...keyOf(params), actor: contexts.actorOf(request) };
        return publish.remove((removed) =>
          mutations.run(request, async (store) => {
            removed(await store.versions.remove(input));
            return noContent();
          }),
        );
      },
      { params: VersionParams },
    );
}

function keyOf(params: { id: string; version: string }): VersionKey {
  return { function_id: params.id, version: params.version };
}
