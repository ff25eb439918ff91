// What a node keeps in its data directory: its credentials and the last desired state that it accepted.
import { join } from 'node:path';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { readFileBounded, writeDurably } from '../../base/durable.ts';
import type { RandomBytes } from '../../base/id.ts';
import { SYNC_BOUNDS } from '../../base/limits/sync.ts';
import type { Log } from '../../base/log.ts';
import { JoinAnswer } from '../../model/protocol.ts';
import { type Accepted, readAccepted } from './accept.ts';

/** The answer to the join: `node_token` is a secret. */
export type Credentials = JoinAnswer;

export type NodeFiles = {
  /** Null when this node has not joined yet. Rejects a damaged file: joining again needs a person. */
  loadCredentials(): Promise<Credentials | null>;
  storeCredentials(credentials: Credentials): Promise<void>;
  /** Null when there is none or it is damaged: the control plane then sends it again. */
  loadDesired(): Promise<Accepted | null>;
  storeDesired(accepted: Accepted): Promise<void>;
};

const CREDENTIALS_BYTES_MAX = 16 * 1_024;

const credentialsCheck = TypeCompiler.Compile(JoinAnswer);

/** Both files are private (0600), and a reader finds the old content or the new. */
export function openNodeFiles(options: { dataDir: string; random: RandomBytes; log: Log }): NodeFiles {
  const { dataDir, random, log } = options;
  const credentialsPath = join(dataDir, 'node.json');
  const desiredPath = join(dataDir, 'desired.json');
  const store = (path: string, value: unknown): Promise<void> =>
    writeDurably(path, JSON.stringify(value), { mode: 0o600, tag: Buffer.from(random(8)).toString('hex') });
  return {
    async loadCredentials() {
      const bytes = await readFileBounded(credentialsPath, CREDENTIALS_BYTES_MAX);
      if (bytes === null) return null;
      let value: unknown;
      try {
        value = JSON.parse(Buffer.from(bytes).toString('utf8'));
      } catch {
        value = null;
      }
      if (!credentialsCheck.Check(value)) {
        throw new Error(`${credentialsPath} is damaged; remove it and join again with another join token`);
      }
      return value;
    },
    storeCredentials: (credentials) => store(credentialsPath, credentials),
    async loadDesired() {
      try {
        const bytes = await readFileBounded(desiredPath, SYNC_BOUNDS.answerBytesMax);
        if (bytes === null) return null;
        const accepted = readAccepted(bytes);
        if (accepted === null)
          log.error('the stored desired state is damaged; waiting for the control plane');
        return accepted;
      } catch (failure) {
        log.error('the stored desired state cannot be read', { error: String(failure) });
        return null;
      }
    },
    storeDesired: (accepted) => store(desiredPath, accepted),
  };
}
