// What all servers share: how they explain addresses and directories that they cannot use, and local URLs.
import { describe, expect, test } from 'bun:test';
import { explainBindFailures, localUrl, makeDirectory } from '../../src/program/modes/lifetime.ts';

const addresses = [
  { flag: '--listen', address: { host: '127.0.0.1', port: 80 } },
  { flag: '--metrics-listen', address: { host: '::1', port: 9090 } },
];

/** Bun's own message and code for a failed listen. */
const failWith = (code: string, message: string): Promise<never> =>
  explainBindFailures(addresses, () => {
    throw Object.assign(new Error(message), { code, syscall: 'listen' });
  });

describe('A failure to listen', () => {
  test.each([
    ['EADDRINUSE', 'Is port 9090 in use?', 'port_in_use', '[::1]:9090 is in use by another process.'],
    [
      'EACCES',
      'permission denied 127.0.0.1:80',
      'address_unusable',
      'This user may not listen on 127.0.0.1:80.',
    ],
  ])('with %s names the address and its flag', async (code, message, failureCode, sentence) => {
    const flag = message.includes('9090') ? '--metrics-listen' : '--listen';
    await expect(failWith(code, message)).rejects.toMatchObject({
      code: failureCode,
      message: sentence,
      hint: `Choose another address with ${flag}.`,
    });
  });

  test.each([
    ['EADDRNOTAVAIL', '127.0.0.1:80 or [::1]:9090 is not an address of this machine.'],
    ['ENOTTY', 'Cannot listen on 127.0.0.1:80 or [::1]:9090: check that the host name has an address.'],
  ])('with %s names every address that may be meant', async (code, sentence) => {
    await expect(failWith(code, `${code}, listen`)).rejects.toMatchObject({
      code: 'address_unusable',
      message: sentence,
      hint: 'Choose another address with --listen or --metrics-listen.',
    });
  });

  test('is all that is explained: other failures stay as they are', async () => {
    for (const details of [{ code: 'ENOSPC' }, { code: 'EACCES', path: '/var/cache/wasm' }]) {
      const failure = Object.assign(new Error('a file'), details);
      const thrown = explainBindFailures(addresses, () => Promise.reject(failure));
      await expect(thrown).rejects.toBe(failure);
    }
  });
});

describe('A directory that cannot be used', () => {
  test('is named with its flag', () => {
    expect(() => makeDirectory('/dev/null/data', '--data-dir')).toThrow(
      expect.objectContaining({
        code: 'directory_unusable',
        message: expect.stringContaining('/dev/null/data cannot be used: '),
        hint: 'Choose a directory that this user can write with --data-dir.',
      }),
    );
  });
});

describe('The local URL of a listener', () => {
  test.each([
    ['127.0.0.1', 'http://127.0.0.1:80'],
    ['0.0.0.0', 'http://127.0.0.1:80'],
    ['::', 'http://[::1]:80'],
    ['edge.internal', 'http://edge.internal:80'],
  ])('on %s is %s', (host, url) => {
    expect(localUrl({ host, port: 0 }, 80)).toBe(url);
  });
});
