// Downloads of artifacts: who gets the token, and which bytes are refused.
import { describe, expect, test } from 'bun:test';
import type { SendRequest } from '../../../src/edge/send.ts';
import { createPuller, type Puller, type WantedArtifact } from '../../../src/edge/reconcile/pull.ts';
import { digest } from '../fake_control.ts';
import { createTestClock, type TestClock, until } from '../harness.ts';

const TEXT = 'the artifact';
const wanted = (artifactUrl = '/a/1'): WantedArtifact => ({
  artifact_url: artifactUrl,
  sha256: digest(TEXT),
  size_bytes: TEXT.length,
});

function setUp(answer: SendRequest): {
  puller: Puller;
  seen: Request[];
  results: string[];
  clock: TestClock;
} {
  const seen: Request[] = [];
  const results: string[] = [];
  const clock = createTestClock();
  const send: SendRequest = (request) => {
    seen.push(request);
    return answer(request);
  };
  const puller = createPuller({
    controlFetch: send,
    publicFetch: send,
    cpUrl: 'http://control.test:8080',
    nodeToken: () => 'node-secret',
    clock,
    onPulled: (result, bytes) => void results.push(`${result} ${bytes}`),
  });
  return { puller, seen, results, clock };
}

describe('An artifact', () => {
  test('of the control plane is fetched with the token of the node', async () => {
    const { puller, seen, results } = setUp(async () => new Response(TEXT));
    const outcome = await puller.pull(wanted());
    expect(outcome).toEqual({ ok: true, bytes: new TextEncoder().encode(TEXT) });
    expect(seen[0]?.url).toBe('http://control.test:8080/a/1');
    expect(seen[0]?.headers.get('authorization')).toBe('Bearer node-secret');
    expect(results).toEqual([`ok ${TEXT.length}`]);
  });

  test('at an absolute address is fetched without the token', async () => {
    const { puller, seen } = setUp(async () => new Response(TEXT));
    expect(await puller.pull(wanted('https://store.test/a?sig=1'))).toMatchObject({ ok: true });
    expect(seen[0]?.headers.get('authorization')).toBeNull();
  });

  test('is fetched once for all callers at the same time', async () => {
    const gate = Promise.withResolvers<Response>();
    const { puller, seen } = setUp(() => gate.promise);
    const both = [puller.pull(wanted()), puller.pull(wanted('/a/2'))];
    gate.resolve(new Response(TEXT));
    expect(await Promise.all(both)).toMatchObject([{ ok: true }, { ok: true }]);
    expect(seen.length).toBe(1);
    await puller.pull(wanted()).catch(() => {});
    expect(seen.length).toBe(2);
  });
});

describe('An address that is not allowed', () => {
  for (const url of [
    'file:///etc/passwd',
    '//other.test/a',
    'ftp://x/y',
    'a/b',
    '',
    'data:,x',
    '/\\other.test/a',
  ]) {
    test(`${JSON.stringify(url)} takes the token nowhere else`, async () => {
      const { puller, seen } = setUp(async () => new Response(TEXT));
      const outcome = await puller.pull(wanted(url));
      if (outcome.ok) expect(new URL(seen[0]?.url ?? '').host).toBe('control.test:8080');
      else expect(seen).toEqual([]);
    });
  }
});

describe('An artifact that is not as announced', () => {
  const table: [name: string, body: string][] = [
    ['longer', `${TEXT}!`],
    ['shorter', TEXT.slice(1)],
    ['of another digest', TEXT.replace('t', 'T')],
    ['empty', ''],
  ];
  for (const [name, body] of table) {
    test(`is refused when its bytes are ${name}`, async () => {
      const { puller, results } = setUp(async () => new Response(body));
      expect(await puller.pull(wanted())).toMatchObject({ ok: false, reason: 'mismatch' });
      expect(results).toEqual(['failed 0']);
    });
  }

  test('is read no further than its announced length', async () => {
    let sent = 0;
    const endless = new ReadableStream({
      pull(controller) {
        sent += 1;
        controller.enqueue(new Uint8Array(64));
      },
    });
    const { puller } = setUp(async () => new Response(endless));
    expect(await puller.pull(wanted())).toMatchObject({ ok: false, reason: 'mismatch' });
    expect(sent).toBeLessThan(5);
  });
});

describe('A download that fails', () => {
  test('by status or by exception is unreachable, and its message hides the address', async () => {
    const refusing = setUp(async () => new Response('', { status: 403 }));
    expect(await refusing.puller.pull(wanted())).toEqual({
      ok: false,
      reason: 'unreachable',
      message: 'the request for the artifact was answered with status 403',
    });
    const throwing = setUp(() => Promise.reject(new TypeError('https://store.test/a?sig=secret')));
    const outcome = await throwing.puller.pull(wanted());
    expect(outcome).toMatchObject({ ok: false, reason: 'unreachable' });
    expect(JSON.stringify(outcome)).not.toContain('secret');
  });

  test('because it hangs ends after a minute', async () => {
    const { puller, clock } = setUp(() => new Promise(() => {}));
    const outcome = puller.pull(wanted());
    await until('the download waits', () => clock.sleepers() === 1);
    await clock.advance(60_000);
    expect(await outcome).toMatchObject({ ok: false, message: 'the download took too long' });
  });

  test('because it hangs ends at once when the node closes', async () => {
    const { puller } = setUp(() => new Promise(() => {}));
    const outcome = puller.pull(wanted());
    puller.close();
    expect(await outcome).toMatchObject({ ok: false, message: 'the node is shutting down' });
  });
});
