// Makes ids that sort by time, secrets and fractions from random bytes that callers hand in.

/** Fills and returns `length` random bytes. */
export type RandomBytes = (length: number) => Uint8Array;

export const systemRandom: RandomBytes = (length) => crypto.getRandomValues(new Uint8Array(length));

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';

/** `prefix_` and 26 characters that sort by time: 48 bits of milliseconds, then 80 random bits. */
export function createId(prefix: string, nowMs: number, random: RandomBytes): string {
  let time = '';
  let rest = Math.floor(nowMs);
  for (let i = 0; i < 10; i += 1) {
    time = CROCKFORD.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  let tail = '';
  for (const byte of random(16)) tail += CROCKFORD.charAt(byte & 31);
  return `${prefix}_${time}${tail}`;
}

/** 256 random bits as base64url, after a prefix that says what the secret is for. */
export function createSecret(prefix: string, random: RandomBytes): string {
  return `${prefix}_${Buffer.from(random(32)).toString('base64url')}`;
}

/** A number in [0, 1) from 32 random bits, for jitter. */
export function randomFraction(random: RandomBytes): number {
  return Buffer.from(random(4)).readUInt32BE(0) / 2 ** 32;
}
