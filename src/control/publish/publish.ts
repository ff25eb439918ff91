// Publishing: artifacts come in by a presigned URL or in one call, and leave with their versions.
import type { Static } from '@sinclair/typebox';
import type { Clock } from '../../base/clock.ts';
import { createGate, createSerialQueue } from '../../base/concurrency.ts';
import { CodedError } from '../../base/errors.ts';
import type { Failpoints } from '../../base/failpoints/failpoints.ts';
import type { RandomBytes } from '../../base/id.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import type { Log } from '../../base/log.ts';
import type { Loop } from '../../base/loop.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { Upload } from '../../model/function.ts';
import type { ModuleCheck } from '../../model/wasm/check.ts';
import type { ArtifactStore } from '../../store/artifacts/artifacts.ts';
import type { Store } from '../../store/store.ts';
import type { VersionKey } from '../../store/versions.ts';
import type { Auth } from '../auth/auth.ts';
import { createKeeper } from './keeper.ts';
import { type CommitPublication, type CommitRemoval, createPublisher } from './publisher.ts';
import { isForm, rawArtifact, readUpload } from './upload_body.ts';
import { createUploadUrls } from './upload_urls.ts';

export type Publish = {
  /** A URL that takes one artifact for this version; its host is `origin` unless a public URL is set. */
  uploadUrl(key: VersionKey, origin: string): Static<typeof Upload>;
  /** Refuses what `publish` refuses, `upload_url_invalid` and `upload_url_expired`. */
  uploadSigned<R>(input: {
    key: VersionKey;
    signed: { expires: string; signature: string };
    request: Request;
    commit: CommitPublication<R>;
  }): Promise<R>;
  /**
   * Publishes the body as `version`, else as the version that the form names, else as the newest pending one,
   * else as the next patch. Refuses what `publish` refuses, `function_not_found` and `validation_failed`.
   */
  upload<R>(input: {
    function_id: string;
    version: string | undefined;
    request: Request;
    actor: string;
    commit: CommitPublication<R>;
  }): Promise<R>;
  /** The bytes of an artifact, verified; null where the file is missing or damaged. */
  openArtifact(sha256: string): Promise<Blob | null>;
  /** Also removes the files of artifacts that no version refers to after the removal. */
  remove<R>(commit: CommitRemoval<R>): Promise<R>;
  /** The loop that verifies all artifacts and sets aside the files that no version names. */
  startScrub(): Loop;
};

const URL_TAKEN = 'Another upload to this URL is running: wait until it has ended.';

/**
 * Uploads are refused as `overloaded` where `CONTROL_BOUNDS` allows no more of them: in all, by presigned URLs,
 * by the same URL, and as forms.
 */
export function createPublish(options: {
  store: Pick<Store, 'functions' | 'versions' | 'artifacts'>;
  artifacts: ArtifactStore;
  checkModule: ModuleCheck;
  uploadKey: Auth['uploadKey'];
  publicUrl: string | null;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  metrics: Metrics;
  failpoints: Failpoints;
}): Publish {
  const { store, artifacts, checkModule, uploadKey, publicUrl, clock, failpoints } = options;
  const changes = createSerialQueue();
  const uploadUrls = createUploadUrls({ key: uploadKey, clock, publicUrl });
  const publisher = createPublisher({ store, artifacts, checkModule, changes, failpoints });
  const keeper = createKeeper({ ...options, changes });
  const uploads = createGate({ max: CONTROL_BOUNDS.uploadsMax });
  const byUrl = createGate({ max: CONTROL_BOUNDS.uploadsByUrlMax });
  const forms = createGate({ max: CONTROL_BOUNDS.uploadFormsMax });
  const takenUrls = new Set<string>();
  return {
    uploadUrl: (key, origin) => uploadUrls.issue(key, origin),
    async uploadSigned({ key, signed, request, commit }) {
      uploadUrls.verify(key, signed);
      // The signature covers nothing else, so that no other spelling of this URL is accepted.
      const url = `${key.function_id} ${key.version} ${signed.expires}`;
      if (takenUrls.has(url)) throw new CodedError('overloaded', { message: URL_TAKEN });
      takenUrls.add(url);
      const publish = async () => {
        return publisher.publish({ ...key, body: rawArtifact(request, clock), actor: 'upload-url', commit });
      };
      try {
        return await byUrl.enter(() => uploads.enter(publish));
      } finally {
        takenUrls.delete(url);
      }
    },
    upload: ({ function_id, version: asked, request, actor, commit }) => {
      const publish = async () => {
        await store.functions.get(function_id);
        const { body, version: named } = await readUpload(request, clock);
        return publisher.publish({ function_id, version: asked ?? named, body, actor, commit });
      };
      return uploads.enter(() => (isForm(request) ? forms.enter(publish) : publish()));
    },
    openArtifact: (sha256) => keeper.open(sha256),
    remove: (commit) => publisher.remove(commit),
    startScrub: () => keeper.startScrub(),
  };
}
