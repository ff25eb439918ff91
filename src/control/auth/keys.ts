// The control plane's own keys: one signs heartbeat answers, the other signs upload URLs.
import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  timingSafeEqual,
} from 'node:crypto';
import type { RandomBytes } from '../../base/id.ts';
import type { Log } from '../../base/log.ts';
import type { PrivateFiles } from '../../store/data_dir.ts';

/** Ed25519 (RFC 8032). */
export type SigningKey = {
  /** The raw 32 bytes, base64url. */
  readonly publicKey: string;
  /** Signs exactly these bytes; base64url. */
  sign(bytes: Uint8Array): string;
};

/** HMAC-SHA256. */
export type UploadKey = {
  /** The MAC of `text`, base64url. */
  mac(text: string): string;
  /** Compares in constant time. */
  isMac(text: string, mac: string): boolean;
};

const SIGNING_FILE = 'signing-key.pem';
const UPLOAD_FILE = 'upload-key';
const UPLOAD_KEY_BYTES = 32;

export type KeyOptions = {
  files: PrivateFiles;
  random: RandomBytes;
  log: Log;
  /** How many nodes have joined: they accept the signatures of one key. */
  nodes: number;
  /** `replace`: makes a new signing key where the one that nodes know is missing. */
  lostSigningKey: 'refuse' | 'replace';
};

/**
 * Reads both keys, and makes them at the first start. Throws where a file is damaged, or the signing key is
 * missing and there are nodes. The keys are files (0600) and not rows, so that whoever gets a copy of the
 * database can sign nothing.
 */
export async function openKeys(
  options: KeyOptions,
): Promise<{ signingKey: SigningKey; uploadKey: UploadKey }> {
  const { files, random } = options;
  const pem = (await files.read(SIGNING_FILE)) ?? (await makeSigningKey(options));
  const existing = await files.read(UPLOAD_FILE);
  const text = existing ?? newUploadKey(random);
  if (existing === null) await files.write(UPLOAD_FILE, text);
  return { signingKey: createSigningKey(pem), uploadKey: createUploadKey(text) };
}

async function makeSigningKey({ files, log, nodes, lostSigningKey }: KeyOptions): Promise<string> {
  if (nodes > 0) {
    if (lostSigningKey === 'refuse') throw signingKeyLost(nodes);
    log.warn('a new signing key is made: nodes keep what they serve until they join again', { nodes });
  }
  const pem = newSigningKey();
  await files.write(SIGNING_FILE, pem);
  return pem;
}

function signingKeyLost(nodes: number): Error {
  const count =
    nodes === 1 ? 'the node that has joined accepts' : `the ${nodes} nodes that have joined accept`;
  return new Error(
    `The file "${SIGNING_FILE}" is missing from the data directory, and ${count} no other key: restore this ` +
      'file from a backup. Where there is none, start with --new-signing-key; then start each node again with ' +
      '--join-token "$(edge join-token --node ID)". Until then nodes keep what they serve.',
  );
}

function newSigningKey(): string {
  return String(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }));
}

function newUploadKey(random: RandomBytes): string {
  return Buffer.from(random(UPLOAD_KEY_BYTES)).toString('base64url');
}

function createSigningKey(pem: string): SigningKey {
  const key = privateKeyOf(pem);
  const publicKey = key === null ? undefined : createPublicKey(key).export({ format: 'jwk' }).x;
  if (key === null || publicKey === undefined) {
    throw new Error(
      `The file "${SIGNING_FILE}" in the data directory is damaged: restore it. ` +
        'Nodes accept no other key until they join again.',
    );
  }
  return { publicKey, sign: (bytes) => sign(null, bytes, key).toString('base64url') };
}

function privateKeyOf(pem: string): KeyObject | null {
  try {
    const key = createPrivateKey(pem);
    return key.asymmetricKeyType === 'ed25519' ? key : null;
  } catch {
    return null;
  }
}

function createUploadKey(text: string): UploadKey {
  const key = Buffer.from(text.trim(), 'base64url');
  if (key.byteLength !== UPLOAD_KEY_BYTES) {
    throw new Error(
      `The file "${UPLOAD_FILE}" in the data directory is damaged: restore it, or delete it to get ` +
        'another key, which makes the upload URLs of the old one invalid.',
    );
  }
  const mac = (message: string): string => createHmac('sha256', key).update(message).digest('base64url');
  return {
    mac,
    isMac(message, given) {
      const expected = Buffer.from(mac(message));
      const presented = Buffer.from(given);
      return presented.byteLength === expected.byteLength && timingSafeEqual(presented, expected);
    },
  };
}
