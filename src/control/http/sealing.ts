// Seals stored responses, so that only the caller's token opens them.
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import type { RandomBytes } from '../../base/id.ts';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** `id` separates the keys that are derived from one token; the same two open what they sealed. */
export type SealingSecret = { token: string; id: string };

/** AES-256-GCM: nonce, tag and ciphertext, base64url. */
export function seal(text: string, secret: SealingSecret, random: RandomBytes): string {
  const nonce = random(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', keyOf(secret), nonce);
  const ciphertext = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]).toString('base64url');
}

/** Throws where `sealed` was changed or belongs to another secret. */
export function unseal(sealed: string, secret: SealingSecret): string {
  const bytes = Buffer.from(sealed, 'base64url');
  const nonce = bytes.subarray(0, NONCE_BYTES);
  const tag = bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', keyOf(secret), nonce);
  decipher.setAuthTag(tag);
  const text = decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES));
  return Buffer.concat([text, decipher.final()]).toString('utf8');
}

function keyOf({ token, id }: SealingSecret): Buffer {
  return Buffer.from(hkdfSync('sha256', token, id, 'edge idempotency answer', 32));
}
