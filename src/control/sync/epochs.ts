// The epoch of this control plane, and the file beside its database that shows when a backup was restored.
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { Type } from '@sinclair/typebox';
import type { Clock } from '../../base/clock.ts';
import { createId, type RandomBytes } from '../../base/id.ts';
import { SYNC_TUNING } from '../../base/limits/sync.ts';
import type { Log } from '../../base/log.ts';
import { EpochId, Position } from '../../model/epoch.ts';
import { type EpochMark, judgeStart, type NewEpoch } from '../../model/rules/epoch.ts';
import type { PrivateFiles } from '../../store/data_dir.ts';
import type { Store } from '../../store/store.ts';

const MARK_FILE = 'epoch.json';

const markCheck = TypeCompiler.Compile(
  Type.Object({ epoch: EpochId, revision: Position.properties.revision }),
);

export type EpochMarks = {
  /** Resolves once the file says that this revision was handed out; null at once where it does already. */
  reach(epoch: string, revision: number): Promise<void> | null;
};

/**
 * Goes on with the epoch of the database, or begins a new one and says so. The file holds the highest
 * revision that a node was sent: a database that is behind it is a backup, and nodes may have more.
 */
export async function openEpochs(options: {
  store: Pick<Store, 'facts' | 'nodes'>;
  files: PrivateFiles;
  clock: Clock;
  random: RandomBytes;
  log: Log;
}): Promise<EpochMarks> {
  const { store, files, clock, random, log } = options;
  const mark = await readMark(files, log);
  const nodes = (await store.nodes.statuses()).length;
  const revision = await store.facts.revision();
  const epochs = await store.nodes.epochs();
  const why = judgeStart({ epochs, revision, nodes, mark });
  if (why !== null) {
    const known = mark === null || mark.epoch === epochs.current ? null : mark.epoch;
    const id = createId('ep', clock.nowMs(), random);
    await store.nodes.beginEpoch({ id, why, known });
    if (why !== 'first') logBegin(log, { id, why, revision, mark, nodes });
  }
  const marks = createMarks({ files, clock, log }, mark);
  const { current } = await store.nodes.epochs();
  if (current === null) throw new Error('the database has no epoch');
  if (mark?.epoch !== current) await marks.reach(current, 0);
  return marks;
}

async function readMark(files: PrivateFiles, log: Log): Promise<EpochMark | null> {
  let text: string | null = null;
  try {
    text = await files.read(MARK_FILE);
    const value: unknown = text === null ? null : JSON.parse(text);
    if (markCheck.Check(value)) return value;
  } catch (failure) {
    log.error('a file cannot be read', { file: MARK_FILE, error: String(failure) });
    return null;
  }
  if (text !== null) log.error('a file is damaged', { file: MARK_FILE });
  return null;
}

const REASONS: Record<Exclude<NewEpoch, 'first'>, string> = {
  restored: 'the database is older than what nodes were sent: it was restored from a backup',
  unmarked: `the file ${MARK_FILE} is missing or damaged, which says what nodes were sent`,
};

function logBegin(
  log: Log,
  begin: {
    id: string;
    why: Exclude<NewEpoch, 'first'>;
    revision: number;
    mark: EpochMark | null;
    nodes: number;
  },
): void {
  const { id, why, revision, mark, nodes } = begin;
  log.warn('a new epoch begins', {
    epoch: id,
    reason: REASONS[why],
    revision,
    sent_revision: mark?.revision ?? null,
    nodes,
    next: 'nodes that have more keep it and show as diverged: `edge nodes`, then `edge node rebase NODE`',
  });
}

function createMarks(
  { files, clock, log }: { files: PrivateFiles; clock: Clock; log: Log },
  initial: EpochMark | null,
): EpochMarks {
  let wanted = initial;
  let wantedAt = 0;
  let storedAt = 0;
  let writing: Promise<void> | null = null;
  /** While the disk refuses: no write before this. Heartbeats are answered all the same. */
  let retryMs: number | null = null;

  const write = async (): Promise<void> => {
    const at = wantedAt;
    try {
      await files.write(MARK_FILE, `${JSON.stringify(wanted)}\n`);
      storedAt = at;
      if (retryMs !== null) log.info('a file can be written again', { file: MARK_FILE });
      retryMs = null;
    } catch (failure) {
      if (retryMs === null)
        log.error('a file cannot be written; the restore of a backup may go unnoticed', {
          file: MARK_FILE,
          error: String(failure),
        });
      retryMs = clock.monotonicMs() + SYNC_TUNING.epochMarkRetryMs;
    }
  };

  const settle = async (at: number): Promise<void> => {
    while (storedAt < at) {
      if (writing === null && retryMs !== null && clock.monotonicMs() < retryMs) return;
      writing ??= write().finally(() => (writing = null));
      await writing;
    }
  };

  return {
    reach(epoch, revision) {
      if (wanted?.epoch !== epoch || wanted.revision < revision) {
        wanted = { epoch, revision };
        wantedAt += 1;
      }
      return storedAt === wantedAt ? null : settle(wantedAt);
    },
  };
}
