// Publishing: artifacts come in by a presigned URL or in one call, and leave with their versions.
import type { Static } from '@sinclair/typebox';
import type { Clock } from '../../base/clock.ts';
import { createGate } from '../../base/concurrency.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import type { Upload, Version } from '../../model/function.ts';
import type { ModuleCheck } from '../../model/wasm/check.ts';
import type { ArtifactStore } from '../../store/artifacts/artifacts.ts';
import type { Store } from '../../store/store.ts';
import type { VersionKey } from '../../store/versions.ts';
import type { Auth } from '../auth/auth.ts';
import { createPublisher, type Published } from './publisher.ts';
import { rawArtifact, readUpload } from './upload_body.ts';
import { createUploadUrls } from './upload_urls.ts';

export type Publish = {
  /** A URL that takes one artifact for this version; its host is `origin` unless a public URL is set. */
  uploadUrl(key: VersionKey, origin: string): Static<typeof Upload>;
  /** Refuses what `publish` refuses, `upload_url_invalid` and `upload_url_expired`. */
  uploadSigned(input: {
    key: VersionKey;
    signed: { expires: string; signature: string };
    request: Request;
  }): Promise<Version>;
  /**
   * Publishes the body as `version`, else as the version that the form names, else as the newest pending one,
   * else as the next patch. Refuses what `publish` refuses, `function_not_found` and `validation_failed`.
   */
  upload(input: {
    function_id: string;
    version: string | undefined;
    request: Request;
    actor: string;
  }): Promise<Published>;
  /** The bytes of an artifact; null where the file is missing. */
  openArtifact(sha256: string): Promise<Blob | null>;
  /** Also removes the files of artifacts that no version refers to. Refuses what the store refuses. */
  removeFunction(input: { id: string; actor: string }): Promise<void>;
  /** Also removes the file of an artifact that no version refers to. Refuses what the store refuses. */
  removeVersion(input: VersionKey & { actor: string }): Promise<void>;
};

/** Uploads are refused as `overloaded` where `CONTROL_BOUNDS.uploadsMax` of them run. */
export function createPublish(options: {
  store: Pick<Store, 'functions' | 'versions'>;
  artifacts: ArtifactStore;
  checkModule: ModuleCheck;
  uploadKey: Auth['uploadKey'];
  publicUrl: string | null;
  clock: Clock;
}): Publish {
  const { store, artifacts, checkModule, uploadKey, publicUrl, clock } = options;
  const uploadUrls = createUploadUrls({ key: uploadKey, clock, publicUrl });
  const publisher = createPublisher({ store, artifacts, checkModule });
  const uploads = createGate({ max: CONTROL_BOUNDS.uploadsMax });
  const wantedVersion = async (function_id: string, actor: string): Promise<string> => {
    const pending = await store.versions.newestPending(function_id);
    if (pending !== null) return pending.version;
    return (await store.versions.create({ function_id, version: undefined, settings: {}, actor })).version;
  };
  return {
    uploadUrl: (key, origin) => uploadUrls.issue(key, origin),
    async uploadSigned({ key, signed, request }) {
      uploadUrls.verify(key, signed);
      const { version } = await uploads.enter(async () => {
        return publisher.publish({ ...key, body: rawArtifact(request, clock), actor: 'upload-url' });
      });
      return version;
    },
    upload: ({ function_id, version: asked, request, actor }) =>
      uploads.enter(async () => {
        await store.functions.get(function_id);
        const { body, version: named } = await readUpload(request, clock);
        const version = asked ?? named ?? (await wantedVersion(function_id, actor));
        return publisher.publish({ function_id, version, body, actor });
      }),
    openArtifact: (sha256) => artifacts.open(sha256),
    removeFunction: (input) => publisher.removeFunction(input),
    removeVersion: (input) => publisher.removeVersion(input),
  };
}
