// Versions over HTTP: add, find, list, inspect, delete, and a fresh upload URL.
import type { AnyElysia } from 'elysia';
import { CodedError } from '../../base/errors.ts';
import { pageOf, VersionCreated } from '../../model/api.ts';
import { CreateVersion, Upload, Version } from '../../model/function.ts';
import { ModuleReport } from '../../model/wasm/report.ts';
import { jsonBody } from '../http/bodies.ts';
import { settingsOf } from './functions.ts';
import {
  type ApiParts,
  createResource,
  FunctionParams,
  pageAnswer,
  PageQuery,
  pageRequest,
  VersionParams,
} from './resource.ts';

export function versionsApi(parts: ApiParts): AnyElysia {
  const { store, contexts, publish } = parts;
  const originOf = (request: Request): string => new URL(request.url).origin;
  return createResource('/api/v1/functions/:id/versions')
    .post(
      '',
      async ({ params, body, request, status }) => {
        const settings = settingsOf(body);
        const actor = contexts.actorOf(request);
        const version = await store.versions.create({
          function_id: params.id,
          version: body.version,
          settings,
          actor,
        });
        return status(201, { version, ...publish.uploadUrl(version, originOf(request)) });
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
        return pageAnswer(await store.versions.list({ ...pageRequest(query), function_id: params.id }));
      },
      { params: FunctionParams, query: PageQuery, response: { 200: pageOf(Version) } },
    )
    .get(
      '/:version',
      ({ params }) => store.versions.get({ function_id: params.id, version: params.version }),
      {
        params: VersionParams,
        response: { 200: Version },
      },
    )
    .get(
      '/:version/inspect',
      ({ params }) => store.versions.report({ function_id: params.id, version: params.version }),
      { params: VersionParams, response: { 200: ModuleReport } },
    )
    .post(
      '/:version/upload-url',
      async ({ params, request }) => {
        const version = await store.versions.get({ function_id: params.id, version: params.version });
        if (version.status === 'published') throw new CodedError('version_exists');
        return publish.uploadUrl(version, originOf(request));
      },
      { params: VersionParams, parse: 'none', response: { 200: Upload } },
    )
    .delete(
      '/:version',
      async ({ params, request }) => {
        const { id: function_id, version } = params;
        await publish.removeVersion({ function_id, version, actor: contexts.actorOf(request) });
        return new Response(null, { status: 204 });
      },
      { params: VersionParams },
    );
}
