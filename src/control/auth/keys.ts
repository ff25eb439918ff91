// The control plane's own keys: it signs desired states with one and upload URLs with the other.
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

/** `publicKey` is the raw Ed25519 key, base64url. */
export type ControlKeys = {
  readonly publicKey: string;
  /** Ed25519 over exactly these bytes (RFC 8032), base64url. */
  sign(bytes: Uint8Array): string;
  /** HMAC-SHA256, base64url. */
  mac(text: string): string;
  /** In constant time for macs of the right length. */
  isMac(text: string, mac: string): boolean;
};

const SIGNING_FILE = 'signing-key.pem';
const UPLOAD_FILE = 'upload-key';

/**
 * Made at the first start. They are files of their own (0600) and not rows, so that a copy of the database,
 * which is what people hand around to look into a problem, opens nothing.
 */
export async function openKeys(options: { files: PrivateFiles; random: RandomBytes }): Promise<ControlKeys> {
  const { files, random } = options;
  const pem = (await files.read(SIGNING_FILE)) ?? (await keep(files, SIGNING_FILE, newSigningKey()));
  const text =
    (await files.read(UPLOAD_FILE)) ??
    (await keep(files, UPLOAD_FILE, Buffer.from(random(32)).toString('base64url')));
  const signing = createPrivateKey(pem);
  const uploadKey = Buffer.from(text.trim(), 'base64url');
  if (uploadKey.byteLength !== 32)
    throw new Error(`The file "${UPLOAD_FILE}" in the data directory is damaged.`);
  const mac = (message: string): string =>
    createHmac('sha256', uploadKey).update(message).digest('base64url');
  return {
    publicKey: rawPublicKey(signing),
    sign: (bytes) => sign(null, bytes, signing).toString('base64url'),
    mac,
    isMac(message, given) {
      const expected = Buffer.from(mac(message));
      const presented = Buffer.from(given);
      return presented.byteLength === expected.byteLength && timingSafeEqual(presented, expected);
    },
  };
}

async function keep(files: PrivateFiles, name: string, text: string): Promise<string> {
  await files.write(name, text);
  return text;
}

function newSigningKey(): string {
  return String(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }));
}

function rawPublicKey(signing: KeyObject): string {
  const { x } = createPublicKey(signing).export({ format: 'jwk' });
  if (x === undefined) throw new Error('The signing key in the data directory is not an Ed25519 key.');
  return x;
}
