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

/**
 * Reads both keys, and makes them at the first start. Throws where a file is damaged. The keys are files
 * (0600) and not rows, so that whoever gets a copy of the database can sign nothing.
 */
export async function openKeys(options: {
  files: PrivateFiles;
  random: RandomBytes;
}): Promise<{ signingKey: SigningKey; uploadKey: UploadKey }> {
  const { files, random } = options;
  const pem = await readOrWrite(files, SIGNING_FILE, newSigningKey);
  const text = await readOrWrite(files, UPLOAD_FILE, () => newUploadKey(random));
  return { signingKey: createSigningKey(pem), uploadKey: createUploadKey(text) };
}

async function readOrWrite(files: PrivateFiles, name: string, create: () => string): Promise<string> {
  const existing = await files.read(name);
  if (existing !== null) return existing;
  const text = create();
  await files.write(name, text);
  return text;
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
