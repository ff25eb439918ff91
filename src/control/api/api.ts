// The API: one Elysia application per resource, each with what it needs and nothing else.
import type { AnyElysia } from 'elysia';
import type { Store } from '../../store/store.ts';
import type { Auth } from '../auth/auth.ts';
import type { Mutations } from '../http/mutations.ts';
import type { RequestContexts } from '../http/request_context.ts';
import type { Publish } from '../publish/publish.ts';
import type { Sync } from '../sync/sync.ts';
import { artifactsApi } from './artifacts.ts';
import { deploymentsApi } from './deployments.ts';
import { deploysApi } from './deploys.ts';
import { functionsApi } from './functions.ts';
import { nodesApi } from './nodes.ts';
import { routesApi } from './routes.ts';
import { systemApi } from './system.ts';
import { versionsApi } from './versions.ts';

export function createApi(options: {
  store: Store;
  auth: Auth;
  sync: Sync;
  publish: Publish;
  contexts: RequestContexts;
  mutations: Mutations;
  productVersion: string;
  newId: (prefix: string) => string;
}): AnyElysia[] {
  const { store, auth, sync, publish, contexts, mutations, productVersion, newId } = options;
  const { functions, versions, routes, deployments, nodes, facts, audit } = store;
  return [
    functionsApi({ functions, publish, contexts, mutations, newId }),
    versionsApi({ versions, publish, contexts, mutations }),
    artifactsApi({ versions, publish, sync, contexts, mutations }),
    routesApi({ routes, contexts, mutations, newId }),
    deploysApi({ deployments, progress: sync.progress, contexts, mutations, newId }),
    deploymentsApi({ deployments, progress: sync.progress, contexts, mutations }),
    nodesApi({ nodes, auth, sync, contexts, mutations, newId }),
    systemApi({ facts, audit, productVersion }),
  ];
}
