// The seal on kept answers: who opens them, how large they are, and what was sealed by an earlier release.
import { describe, expect, test } from 'bun:test';
import { createCipheriv, hkdfSync } from 'node:crypto';
import { systemRandom } from '../../src/base/id.ts';
import { seal, unseal } from '../../src/control/http/sealing.ts';

const secret = { token: 'token', id: 'id' };

describe('A sealed answer', () => {
  test('opens with its token and id alone, and only unchanged', () => {
    const sealed = seal('an answer', secret, systemRandom);
    expect(unseal(sealed, secret)).toBe('an answer');
    expect(sealed).not.toContain('answer');
    for (const other of [
      { ...secret, token: 'other' },
      { ...secret, id: 'other' },
    ]) {
      expect(() => unseal(sealed, other)).toThrow();
    }
    expect(() => unseal(sealed.slice(0, -4), secret)).toThrow();
  });

  test('that lists a thousand nodes takes a tenth of their bytes', () => {
    const nodes = Array.from({ length: 1_000 }, (_, at) => {
      return {
        node_id: `node-${at}`,
        pop_id: `pop-${at % 7}`,
        node_status: 'online',
        state: 'pending',
        error: null,
      };
    });
    const text = JSON.stringify({ nodes, complete: false });
    const sealed = seal(text, secret, systemRandom);
    expect(sealed.length).toBeLessThan(text.length / 10);
    expect(unseal(sealed, secret)).toBe(text);
  });

  test('of a release that did not pack opens as well', () => {
    const key = Buffer.from(hkdfSync('sha256', 'token', 'id', 'edge idempotency answer', 32));
    const nonce = systemRandom(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    const ciphertext = Buffer.concat([cipher.update('an old answer', 'utf8'), cipher.final()]);
    const sealed = Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]).toString('base64url');
    expect(unseal(sealed, secret)).toBe('an old answer');
  });
});
