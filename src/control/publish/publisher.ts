// From received bytes to a published version: digest, module check, file, and only then the row.
import { createSerialQueue, type SerialQueue } from '../../base/concurrency.ts';
import { CodedError } from '../../base/errors.ts';
import type { Failpoints } from '../../base/failpoints/failpoints.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { Version } from '../../model/function.ts';
import type { ModuleCheck } from '../../model/wasm/check.ts';
import type { ModuleReport } from '../../model/wasm/report.ts';
import type { ArtifactStore, ReceivedArtifact } from '../../store/artifacts/artifacts.ts';
import type { Store } from '../../store/store.ts';

/** `changed` is false where the version had this artifact already. */
export type Published = { version: Version; changed: boolean };

/** Commits a publication: calls `apply` once with the operations of one transaction. */
export type CommitPublication<R> = (apply: (versions: Store['versions']) => Promise<Published>) => Promise<R>;

/** Commits a removal: calls `removed` with the artifacts that no version refers to after it. */
export type CommitRemoval<R> = (removed: (digests: readonly string[]) => void) => Promise<R>;

export type Publisher = {
  /**
   * Gives a version its artifact; without a number, the version that `upcoming` names. The artifact that a
   * version has already is stored again, which repairs its file. Refuses what the
   * artifact store and the store refuse, and a module that fails the check with `offset`, `import` and
   * `export` in the details; the version is then still pending.
   */
  publish<R>(input: {
    function_id: string;
    version: string | undefined;
    body: ReadableStream<Uint8Array> | null;
    actor: string;
    commit: CommitPublication<R>;
  }): Promise<R>;
  /** Deletes the files of the artifacts that the removal leaves without a version. */
  remove<R>(commit: CommitRemoval<R>): Promise<R>;
};

/** The version that an upload goes to, and whether it has to be created with it. */
type Target = Pick<Version, 'function_id' | 'version' | 'settings'> & {
  status: Version['status'] | 'new';
  sha256?: Version['sha256'];
};

/**
 * A publication writes its file, then its row; a removal deletes the row, then the file. The queue `changes` runs
 * them one at a time: otherwise a removal could delete the file that a publication of the same bytes relies on.
 * Module checks have a queue of their own, so that one module at a time is in memory.
 */
export function createPublisher(options: {
  store: Pick<Store, 'versions'>;
  artifacts: ArtifactStore;
  checkModule: ModuleCheck;
  changes: SerialQueue;
  failpoints: Failpoints;
}): Publisher {
  const { store, artifacts, checkModule, changes, failpoints } = options;
  const checks = createSerialQueue();
  const publishReceived = async <R>(
    target: Target,
    received: ReceivedArtifact,
    { actor, commit }: { actor: string; commit: CommitPublication<R> },
  ): Promise<R> => {
    const { function_id, version } = target;
    const check = async (): Promise<ModuleReport> => {
      return requireAccepted(checkModule, await received.bytes(), target);
    };
    const report = target.status === 'published' ? null : await checks(check);
    return await changes(async () => {
      const now = await targetAgain(store.versions, target);
      // The bytes of a published version replace its file, which may be damaged or missing.
      if (now.status !== 'published' || now.sha256 === received.sha256) {
        await received.keep();
        await failpoints.reach('artifact_kept');
      }
      const { sha256, sizeBytes: size_bytes } = received;
      return await commit(async (versions) => {
        if (now.status === 'new') {
          await targetAgain(versions, target);
          await versions.create({ function_id, version, settings: {}, actor });
        }
        return await versions.publish({ function_id, version, sha256, size_bytes, report, actor });
      });
    });
  };
  return {
    async publish({ body, actor, commit, ...key }) {
      const target = await targetOf(store.versions, key);
      const received = await artifacts.receive(body, { bytesMax: FUNCTION_BOUNDS.artifactBytesMax });
      try {
        return await publishReceived(target, received, { actor, commit });
      } finally {
        await received.discard();
      }
    },
    remove: (commit) =>
      changes(async () => {
        let digests: readonly string[] = [];
        const reply = await commit((removed) => (digests = removed));
        for (const digest of digests) await artifacts.remove(digest);
        return reply;
      }),
  };
}

async function targetOf(
  versions: Store['versions'],
  { function_id, version }: { function_id: string; version: string | undefined },
): Promise<Target> {
  return version === undefined ? versions.upcoming(function_id) : versions.get({ function_id, version });
}

/** Refuses `overloaded` where someone changed the target, so that these bytes are not checked against it. */
async function targetAgain(versions: Store['versions'], target: Target): Promise<Target> {
  const { function_id, version, settings, status } = target;
  const now = await targetOf(versions, { function_id, version: status === 'new' ? undefined : version });
  const isSame = now.version === version && Bun.deepEquals(now.settings, settings);
  const isAsChecked = now.status === status || (status === 'pending' && now.status === 'published');
  if (!isSame || !isAsChecked) throw new CodedError('overloaded');
  return now;
}

async function requireAccepted(
  checkModule: ModuleCheck,
  bytes: Uint8Array<ArrayBuffer>,
  { settings }: Target,
): Promise<ModuleReport> {
  const { memory_pages, entrypoint } = settings;
  const result = await checkModule(bytes, { memoryPages: memory_pages, entrypoint });
  if (result.ok) return result.report;
  const { code, message, ...details } = result.error;
  throw new CodedError(code, { message, details });
}
