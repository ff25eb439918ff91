// From received bytes to a published version: digest, module check, and only then the row.
import { CodedError } from '../../base/errors.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { Version } from '../../model/function.ts';
import type { ModuleCheck } from '../../model/wasm/check.ts';
import type { ModuleReport } from '../../model/wasm/report.ts';
import type { ArtifactStore, ReceivedArtifact } from '../../store/artifacts/artifacts.ts';
import type { Store } from '../../store/store.ts';
import type { VersionKey } from '../../store/versions.ts';
import { createSerialQueue } from '../../base/concurrency.ts';

export type Publisher = {
  /**
   * Gives a version its artifact. The same bytes again change nothing. Refuses what the artifact store and
   * the store refuse, and a module code with its `offset`, `import` and `export`; the version is then still
   * pending.
   */
  publish(input: VersionKey & { body: ReadableStream<Uint8Array> | null; actor: string }): Promise<{
    version: Version;
    changed: boolean;
  }>;
  removeFunction(input: { id: string; actor: string }): Promise<void>;
  removeVersion(input: VersionKey & { actor: string }): Promise<void>;
};

/**
 * Keeping a file and writing its row, and dropping a row and removing its file, take turns: else an artifact
 * could be removed between the two steps of a publication that needs it. Checks take turns of their own, so
 * that one module at a time is in memory.
 */
export function createPublisher(options: {
  store: Store;
  artifacts: ArtifactStore;
  checkModule: ModuleCheck;
}): Publisher {
  const { store, artifacts, checkModule } = options;
  const turn = createSerialQueue();
  const checkTurn = createSerialQueue();
  const settle = async (
    key: VersionKey,
    received: ReceivedArtifact,
    actor: string,
  ): Promise<{ version: Version; changed: boolean }> => {
    const version = await store.versions.get(key);
    const check = async (): Promise<ModuleReport> => accepted(checkModule, await received.bytes(), version);
    const report = version.status === 'pending' ? await checkTurn(check) : null;
    const artifact = { sha256: received.sha256, size_bytes: received.sizeBytes, report };
    return await turn(async () => {
      const { status } = await store.versions.get(key);
      if (status === 'pending') {
        if (report === null) throw new CodedError('overloaded');
        await received.keep();
      }
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
        return await settle(key, received, actor);
      } finally {
        await received.discard();
      }
    },
    removeFunction: (input) => turn(async () => removeFiles(await store.functions.remove(input))),
    removeVersion: (input) => turn(async () => removeFiles(await store.versions.remove(input))),
  };
}

async function accepted(
  checkModule: ModuleCheck,
  bytes: Uint8Array<ArrayBuffer>,
  version: Version,
): Promise<ModuleReport> {
  const { memory_pages, entrypoint } = version.settings;
  const result = await checkModule(bytes, { memoryPages: memory_pages, entrypoint });
  if (result.ok) return result.report;
  const { code, message, ...place } = result.error;
  throw new CodedError(code, { message, details: place });
}
