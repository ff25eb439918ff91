// What a node keeps in its data directory: its credentials and the last desired state that it accepted.
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { join } from 'node:path';
import { Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import type { RandomBytes } from '../../base/id.ts';
import { SYNC_BOUNDS } from '../../base/limits/sync.ts';
import type { Log } from '../../base/log.ts';
import { Sha256 } from '../../model/names.ts';
import { JoinAnswer } from '../../model/protocol.ts';
import { encodeStored, readStored, type SignedAnswer, type Stored } from './accept.ts';
import { KeptFile } from './kept_file.ts';

/** The answer to the join, and about it what decides whether the node may join again. */
export type Credentials = JoinAnswer & {
  /** SHA-256 of the join token, which joins nobody again. */
  join_token_sha256?: string;
  /** Of the control plane before: it signed what this node serves until the new one has answered. */
  former_public_key?: string;
};

/** The node's own key, with which it joins. */
export type NodeKey = {
  /** Ed25519, the raw 32 bytes, base64url. */
  readonly publicKey: string;
  /** Base64url. */
  sign(text: string): string;
};

/** Nothing here rejects: what the disk refuses is logged, and kept in memory until it can be stored. */
export type NodeFiles = {
  /** Reads `identity.pem`, or makes it; a damaged one is replaced. */
  openKey(): Promise<NodeKey>;
  /** Null when this node has not joined yet, or its credentials are damaged in both copies. */
  loadCredentials(): Promise<Credentials | null>;
  /** Null when there is none or it is damaged: the control plane then sends it again. */
  loadDesired(credentials: Credentials | null): Promise<Stored | null>;
  keepCredentials(credentials: Credentials): Promise<void>;
  keepDesired(answer: SignedAnswer): Promise<void>;
  /** Stores what could not be stored before. */
  catchUp(): Promise<void>;
};

const CREDENTIALS_BYTES_MAX = 16 * 1_024;
const CREDENTIALS_FILE = 'node.json';
const DESIRED_FILE = 'desired.state';
const KEY_FILE = 'identity.pem';
const KEY_BYTES_MAX = 4 * 1_024;

const credentialsCheck = TypeCompiler.Compile(
  Type.Composite([
    JoinAnswer,
    Type.Object({
      join_token_sha256: Type.Optional(Sha256),
      former_public_key: Type.Optional(Type.String()),
    }),
  ]),
);

export function openNodeFiles(options: {
  dataDir: string;
  nodeId: string;
  random: RandomBytes;
  log: Log;
}): NodeFiles {
  const { dataDir, nodeId, random, log } = options;
  let pinned: Credentials | null = null;
  const credentialsFile = new KeptFile({
    path: join(dataDir, CREDENTIALS_FILE),
    bytesMax: CREDENTIALS_BYTES_MAX,
    parse: readCredentials,
    random,
    log,
  });
  const desiredFile = new KeptFile({
    path: join(dataDir, DESIRED_FILE),
    bytesMax: SYNC_BOUNDS.answerBytesMax + CREDENTIALS_BYTES_MAX,
    parse: (bytes) => readStored(bytes, { ...keysOf(pinned), nodeId }),
    random,
    log,
  });
  const keyFile = new KeptFile({
    path: join(dataDir, KEY_FILE),
    bytesMax: KEY_BYTES_MAX,
    parse: (bytes) => keyOf(Buffer.from(bytes).toString('utf8')),
    random,
    log,
  });
  let key: NodeKey | null = null;
  let unstoredCredentials: Credentials | null = null;
  let unstoredDesired: SignedAnswer | null = null;
  const catchUp = async (): Promise<void> => {
    const credentials = unstoredCredentials;
    if (credentials !== null && (await credentialsFile.store(encodeCredentials(credentials))))
      unstoredCredentials = null;
    const desired = unstoredDesired;
    if (desired !== null && (await desiredFile.store(encodeStored(desired)))) unstoredDesired = null;
  };
  return {
    async openKey() {
      key ??= await keyFile.load();
      if (key !== null) return key;
      const pem = String(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }));
      const made = keyOf(pem);
      if (made === null) throw new Error('a key could not be made');
      await keyFile.store(pem);
      key = made;
      return made;
    },
    loadCredentials: () => credentialsFile.load(),
    loadDesired(credentials) {
      pinned = credentials;
      return desiredFile.load();
    },
    keepCredentials(credentials) {
      pinned = credentials;
      unstoredCredentials = credentials;
      return catchUp();
    },
    keepDesired(answer) {
      unstoredDesired = answer;
      return catchUp();
    },
    catchUp,
  };
}

/** The keys that may have signed what is stored. */
function keysOf(credentials: Credentials | null): { key: string | null; formerKey: string | null } {
  const { control_public_key: key = null, former_public_key: formerKey = null } = credentials ?? {};
  return { key, formerKey };
}

/** Over the fields of a release that had three, where a file has no more. */
function digestOf(credentials: Credentials): string {
  const { node_id, node_token, control_public_key, join_token_sha256, former_public_key } = credentials;
  const later = [join_token_sha256, former_public_key];
  const more = later.every((value) => value === undefined) ? [] : later.map((value) => value ?? null);
  const text = JSON.stringify([node_id, node_token, control_public_key, ...more]);
  return new Bun.CryptoHasher('sha256').update(text).digest('hex');
}

/** With a digest, which shows whether the file is whole. */
function encodeCredentials(credentials: Credentials): string {
  return JSON.stringify({ ...credentials, sha256: digestOf(credentials) });
}

function readCredentials(bytes: Uint8Array): Credentials | null {
  try {
    const { sha256, ...value } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { sha256?: unknown };
    return credentialsCheck.Check(value) && sha256 === digestOf(value) ? value : null;
  } catch {
    return null;
  }
}

/** Null where `pem` is not an Ed25519 key. */
function keyOf(pem: string): NodeKey | null {
  try {
    const key = createPrivateKey(pem);
    const publicKey = createPublicKey(key).export({ format: 'jwk' }).x;
    if (key.asymmetricKeyType !== 'ed25519' || publicKey === undefined) return null;
    return { publicKey, sign: (text) => sign(null, Buffer.from(text), key).toString('base64url') };
  } catch {
    return null;
  }
}
