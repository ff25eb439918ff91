// From received bytes to a published version: digest, module check, file, and only then the row.
import { createSerialQueue } from '../../base/concurrency.ts';
import { CodedError } from '../../base/errors.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { Version } from '../../model/function.ts';
import type { ModuleCheck } from '../../model/wasm/check.ts';
import type { ModuleReport } from '../../model/wasm/report.ts';
import type { ArtifactStore, ReceivedArtifact } from '../../store/artifacts/artifacts.ts';
import type { Store } from '../../store/store.ts';
import type { VersionKey } from '../../store/versions.ts';

/** `changed` is false where the version had this artifact already. */
export type Published = { version: Version; changed: boolean };

export type Publisher = {
  /**
   * Gives a version its artifact. Refuses what the artifact store and the store refuse, and a module that
   * fails the check with `offset`, `import` and `export` in the details; the version is then still pending.
   */
  publish(input: VersionKey & { body: ReadableStream<Uint8Array> | null; actor: string }): Promise<Published>;
  removeFunction(input: { id: string; actor: string }): Promise<void>;
  removeVersion(input: VersionKey & { actor: string }): Promise<void>;
};

/**
 * A publication writes its file, then its row; a removal deletes the row, then the file. One queue runs them
 * one at a time: otherwise a removal could delete the file that a publication of the same bytes relies on.
 * Module checks have a queue of their own, so that one module at a time is in memory.
 */
export function createPublisher(options: {
  store: Pick<Store, 'functions' | 'versions'>;
  artifacts: ArtifactStore;
  checkModule: ModuleCheck;
}): Publisher {
  const { store, artifacts, checkModule } = options;
  const changes = createSerialQueue();
  const checks = createSerialQueue();
  const publishReceived = async (
    key: VersionKey,
    received: ReceivedArtifact,
    actor: string,
  ): Promise<Published> => {
    const version = await store.versions.get(key);
    const check = async (): Promise<ModuleReport> => {
      return requireAccepted(checkModule, await received.bytes(), version);
    };
    const report = version.status === 'pending' ? await checks(check) : null;
    return await changes(async () => {
      const { status } = await store.versions.get(key);
      if (status === 'pending') {
        // Someone removed the version and created it again meanwhile, so these bytes are not checked.
        if (report === null) throw new CodedError('overloaded');
        await received.keep();
      }
      const artifact = { sha256: received.sha256, size_bytes: received.sizeBytes, report };
      return await store.versions.publish({ ...key, ...artifact, actor });
    });
  };
  const removeFiles = async (digests: readonly string[]): Promise<void> => {
    for (const digest of digests) await artifacts.remove(digest);
  };
  return {
    async publish({ body, actor, ...key }) {
      await store.versions.get(key);
      const received = await artifacts.receive(body, { bytesMax: FUNCTION_BOUNDS.artifactBytesMax });
      try {
        return await publishReceived(key, received, actor);
      } finally {
        await received.discard();
      }
    },
    removeFunction: (input) => changes(async () => removeFiles(await store.functions.remove(input))),
    removeVersion: (input) => changes(async () => removeFiles(await store.versions.remove(input))),
  };
}

async function requireAccepted(
  checkModule: ModuleCheck,
  bytes: Uint8Array<ArrayBuffer>,
  version: Version,
): Promise<ModuleReport> {
  const { memory_pages, entrypoint } = version.settings;
  const result = await checkModule(bytes, { memoryPages: memory_pages, entrypoint });
  if (result.ok) return result.report;
  const { code, message, ...details } = result.error;
  throw new CodedError(code, { message, details });
}
