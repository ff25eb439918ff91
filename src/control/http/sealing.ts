// Seals kept answers, so that only the caller's token opens them, and packs them: they may list every node.
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { RandomBytes } from '../../base/id.ts';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** `id` separates the keys that are derived from one token; the same two open what they sealed. */
export type SealingSecret = { token: string; id: string };

/** What was sealed by a release that did not pack does not begin with it. */
const PACKED = 'z.';

/** AES-256-GCM of the deflated text: nonce, tag and ciphertext, base64url. */
export function seal(text: string, secret: SealingSecret, random: RandomBytes): string {
  const nonce = random(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', keyOf(secret), nonce);
  const ciphertext = Buffer.concat([cipher.update(deflateRawSync(text)), cipher.final()]);
  return PACKED + Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]).toString('base64url');
}

/** Throws where `sealed` was changed or belongs to another secret. */
export function unseal(sealed: string, secret: SealingSecret): string {
  const isPacked = sealed.startsWith(PACKED);
  const bytes = Buffer.from(isPacked ? sealed.slice(PACKED.length) : sealed, 'base64url');
  const nonce = bytes.subarray(0, NONCE_BYTES);
  const tag = bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', keyOf(secret), nonce);
  decipher.setAuthTag(tag);
  const text = decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES));
  const opened = Buffer.concat([text, decipher.final()]);
  return (isPacked ? inflateRawSync(opened) : opened).toString('utf8');
}

function keyOf({ token, id }: SealingSecret): Buffer {
  return Buffer.from(hkdfSync('sha256', token, id, 'edge idempotency answer', 32));
}
