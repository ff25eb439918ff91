// Slow uploads: how many run at one time, how slow they may be, and that they leave room for the others.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CONTROL_BOUNDS } from '../../src/base/limits/control.ts';
import { type Answer, type Fleet, hello, openFleet, until } from './harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

const incoming = (): string => join(fleet.dir, 'artifacts', 'incoming');
const leftovers = (): string[] => readdirSync(incoming());
const leftoverBytes = (): number =>
  leftovers().reduce((sum, name) => sum + statSync(join(incoming(), name)).size, 0);
const put = (url: string) => fleet.call('PUT', url, { body: hello, token: null });

/** `awaited` resolves once all that was sent is read, and more is awaited. */
type Slow = {
  answer: Promise<Answer>;
  send(bytes: Uint8Array): void;
  awaited(): Promise<void>;
  end(): void;
};

/** A request whose body comes as the test sends it. */
function slow(method: string, target: string, headers: Record<string, string> = {}): Slow {
  let body: ReadableStreamDefaultController<Uint8Array> | null = null;
  let isAwaited = false;
  const source = {
    start: (controller: ReadableStreamDefaultController<Uint8Array>) => void (body = controller),
    pull: () => void (isAwaited = true),
  };
  const stream = new ReadableStream<Uint8Array>(source, { highWaterMark: 0 });
  const answer = fleet.call(method, target, { body: stream, headers });
  return {
    answer,
    send(bytes) {
      isAwaited = false;
      body?.enqueue(bytes);
    },
    awaited: () => until(() => isAwaited),
    end: () => body?.close(),
  };
}

/** Begins `count` uploads, each by a URL of its own. */
async function slowByUrl(count: number): Promise<Slow[]> {
  const running: Slow[] = [];
  for (let index = 0; index < count; index += 1)
    running.push(slow('PUT', (await fleet.create(`slow-${index}`)).uploadUrl));
  await until(() => leftovers().length === count);
  return running;
}

const outcome = ({ status, code, headers }: Answer) => [status, code, headers.get('retry-after')];
const OVERLOADED = [503, 'overloaded', '1'];

describe('Uploads at one time', () => {
  test('one presigned URL takes one, and the next once that has ended', async () => {
    const { uploadUrl } = await fleet.create('hello');
    const first = slow('PUT', uploadUrl);
    await until(() => leftovers().length === 1);
    const second = await put(uploadUrl);
    expect(outcome(second)).toEqual(OVERLOADED);
    expect(second.text).toContain('Another upload to this URL is running');
    first.end();
    expect((await first.answer).code).toBe('artifact_empty');
    expect((await put(uploadUrl)).status).toBe(200);
  });

  test('eight slow ones hold up nobody', async () => {
    const running = await slowByUrl(8);
    expect((await put((await fleet.create('quick')).uploadUrl)).status).toBe(200);
    for (const one of running) one.end();
    await Promise.all(running.map(({ answer }) => answer));
  });

  test('presigned URLs leave room for admins, and all together are bounded', async () => {
    const running = await slowByUrl(CONTROL_BOUNDS.uploadsByUrlMax);
    const { id, uploadUrl } = await fleet.create('hello');
    expect(outcome(await put(uploadUrl))).toEqual(OVERLOADED);
    const target = `/api/v1/functions/${id}/upload`;
    while (running.length < CONTROL_BOUNDS.uploadsMax) running.push(slow('POST', target));
    await until(() => leftovers().length === CONTROL_BOUNDS.uploadsMax);
    expect(outcome(await fleet.call('POST', target, { body: hello }))).toEqual(OVERLOADED);
    for (const one of running) one.end();
    await Promise.all(running.map(({ answer }) => answer));
    expect((await fleet.call('POST', target, { body: hello })).status).toBe(201);
    expect((await put((await fleet.create('quick')).uploadUrl)).status).toBe(200);
  });

  test('forms, which are held in memory, have a bound of their own', async () => {
    const target = `/api/v1/functions/${(await fleet.create('hello')).id}/upload`;
    const headers = { 'content-type': 'multipart/form-data; boundary=x' };
    const running = Array.from({ length: CONTROL_BOUNDS.uploadFormsMax }, () =>
      slow('POST', target, headers),
    );
    const refused = slow('POST', target, headers);
    expect(outcome(await refused.answer)).toEqual(OVERLOADED);
    for (const one of running) one.end();
    for (const { answer } of running) expect((await answer).code).toBe('bad_request');
    expect((await fleet.call('POST', target, { body: hello })).status).toBe(201);
  });
});

describe('The bytes of an upload', () => {
  test('that stop coming end it after the grace time and what they have earned', async () => {
    const { uploadUrl } = await fleet.create('hello');
    const upload = slow('PUT', uploadUrl);
    const bytes = CONTROL_BOUNDS.uploadBytesPerSecondMin;
    upload.send(new Uint8Array(bytes));
    await upload.awaited();
    expect(leftoverBytes()).toBe(bytes);
    await fleet.clock.advance(CONTROL_BOUNDS.uploadGraceMs + 999);
    expect(leftovers()).toHaveLength(1);
    await fleet.clock.advance(1);
    expect((await upload.answer).code).toBe('request_timeout');
    expect(leftovers()).toEqual([]);
    expect((await put(uploadUrl)).status).toBe(200);
  });

  test('that trickle in below the lowest rate end it', async () => {
    const upload = slow('PUT', (await fleet.create('hello')).uploadUrl);
    const seconds = CONTROL_BOUNDS.uploadGraceMs / 1_000;
    for (let second = 1; second <= seconds; second += 1) {
      upload.send(new Uint8Array(1));
      await upload.awaited();
      await fleet.clock.advance(1_000);
    }
    expect(leftovers()).toHaveLength(1);
    await fleet.clock.advance(1);
    expect((await upload.answer).code).toBe('request_timeout');
    expect(leftovers()).toEqual([]);
  });

  test('that come at the lowest rate end it at the time limit', async () => {
    const upload = slow('PUT', (await fleet.create('hello')).uploadUrl);
    const seconds = CONTROL_BOUNDS.uploadBodyMs / 1_000;
    for (let second = 1; second <= seconds; second += 1) {
      upload.send(new Uint8Array(CONTROL_BOUNDS.uploadBytesPerSecondMin));
      await upload.awaited();
      if (second === seconds) await fleet.clock.advance(999);
      else await fleet.clock.advance(1_000);
    }
    expect(leftovers()).toHaveLength(1);
    await fleet.clock.advance(1);
    const refused = await upload.answer;
    expect([refused.status, refused.code]).toEqual([408, 'request_timeout']);
    expect(leftovers()).toEqual([]);
  });
});
