// Artifacts: presigned uploads, the one-call upload, what is refused, and the download.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONTROL_BOUNDS, CONTROL_DEFAULTS } from '../../src/base/limits/control.ts';
import { FUNCTION_BOUNDS } from '../../src/base/limits/function.ts';
import { listenControl } from '../../src/control/listen.ts';
import { type Fleet, fixture, hello, helloAgain, openFleet, until } from './harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const put = (url: string, body: Uint8Array<ArrayBuffer>) => fleet.call('PUT', url, { body, token: null });
const incoming = (): string => join(fleet.dir, 'artifacts', 'incoming');
const leftovers = (): string[] => readdirSync(incoming());

describe('A presigned upload', () => {
  test('publishes the version with the digest that the control plane computed', async () => {
    const { uploadUrl } = await fleet.create('hello');
    const done = await put(uploadUrl, hello);
    expect(done.status).toBe(200);
    expect(done.body).toMatchObject({
      status: 'published',
      sha256: sha256(hello),
      size_bytes: hello.byteLength,
    });
    expect(leftovers()).toEqual([]);
  });

  test('can be repeated, and never changes what is published', async () => {
    const { id, uploadUrl } = await fleet.create('hello');
    await put(uploadUrl, hello);
    expect((await put(uploadUrl, hello)).status).toBe(200);
    const other = await put(uploadUrl, helloAgain);
    expect([other.status, other.code]).toEqual([409, 'version_exists']);
    const version = await fleet.call('GET', `/api/v1/functions/${id}/versions/1.0.0`);
    expect(version.at('sha256')).toBe(sha256(hello));
    expect(leftovers()).toEqual([]);
  });

  test('is refused after its expiry; a fresh URL is accepted', async () => {
    const { id, uploadUrl } = await fleet.create('hello');
    await fleet.clock.advance(CONTROL_DEFAULTS.uploadUrlTtlMs);
    const late = await put(uploadUrl, hello);
    expect([late.status, late.code]).toEqual([403, 'upload_url_expired']);
    const fresh = await fleet.call('POST', `/api/v1/functions/${id}/versions/1.0.0/upload-url`);
    expect((await put(fresh.string('upload_url'), hello)).status).toBe(200);
    const over = await fleet.call('POST', `/api/v1/functions/${id}/versions/1.0.0/upload-url`);
    expect([over.status, over.code]).toEqual([409, 'version_exists']);
  });

  test.each([-86_400_000, 86_400_000])('expires on time or early after a jump of %p ms', async (jumpMs) => {
    const { uploadUrl } = await fleet.create('hello');
    fleet.clock.jump(jumpMs);
    const { uploadUrl: fresh } = await fleet.create('other');
    await fleet.clock.advance(CONTROL_DEFAULTS.uploadUrlTtlMs - 1);
    expect((await put(uploadUrl, hello)).status).toBe(jumpMs < 0 ? 200 : 403);
    expect((await put(fresh, hello)).status).toBe(200);
    await fleet.clock.advance(1);
    expect((await put(uploadUrl, helloAgain)).code).toBe('upload_url_expired');
    expect((await put(fresh, helloAgain)).code).toBe('upload_url_expired');
  });

  test('of a clock that ran a year ahead is refused by the right one', async () => {
    fleet.clock.jump(365 * 86_400_000);
    fleet = await fleet.reopen();
    const { uploadUrl } = await fleet.create('hello');
    fleet.clock.jump(-365 * 86_400_000);
    fleet = await fleet.reopen();
    expect((await put(uploadUrl, hello)).code).toBe('upload_url_expired');
  });

  test.each([
    ['another version', (url: string) => url.replace('/1.0.0?', '/1.0.1?')],
    ['another function', (url: string) => url.replace(/fn_[0-9a-z]{26}/, `fn_${'0'.repeat(26)}`)],
    ['a later expiry', (url: string) => url.replace(/expires=(\d)/, 'expires=9$1')],
    ['a changed signature', (url: string) => url.replace(/signature=./, 'signature=!')],
    ['a cut signature', (url: string) => url.slice(0, -1)],
    ['an empty signature', (url: string) => url.replace(/signature=.*/, 'signature=')],
  ])('is refused with %s', async (_, change) => {
    const { uploadUrl } = await fleet.create('hello');
    const refused = await put(change(uploadUrl), hello);
    expect([refused.status, refused.code]).toEqual([403, 'upload_url_invalid']);
  });

  test('needs both of its parameters', async () => {
    const { uploadUrl } = await fleet.create('hello');
    expect((await put(uploadUrl.replace(/\?.*/, ''), hello)).code).toBe('validation_failed');
  });

  test('is refused while it is read, as soon as it passes the limit', async () => {
    const { id, uploadUrl } = await fleet.create('hello');
    let sent = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 1_048_576;
        controller.enqueue(new Uint8Array(1_048_576));
      },
    });
    const refused = await fleet.call('PUT', uploadUrl, { body: endless, token: null });
    expect([refused.status, refused.code]).toEqual([413, 'artifact_too_large']);
    expect(sent).toBeLessThan(FUNCTION_BOUNDS.artifactBytesMax + 8 * 1_048_576);
    expect(leftovers()).toEqual([]);
    expect((await fleet.call('GET', `/api/v1/functions/${id}/versions/1.0.0`)).at('status')).toBe('pending');
  });

  test('whose caller disconnects leaves no file, no taken place, and no error in the log', async () => {
    const listener = listenControl({ control: fleet.control, hostname: '127.0.0.1', port: 0 });
    try {
      for (let turn = 0; turn <= CONTROL_BOUNDS.uploadsByUrlMax; turn += 1) {
        const { pathname, search } = new URL((await fleet.create(`gone-${turn}`)).uploadUrl);
        const head = `PUT ${pathname}${search} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n`;
        const port = listener.port;
        const socket = await Bun.connect({ hostname: '127.0.0.1', port, socket: { data() {} } });
        socket.write(`${head}\0asm`);
        await until(() => leftovers().length === 1);
        socket.terminate();
        await until(() => leftovers().length === 0);
      }
      const { uploadUrl } = await fleet.create('hello');
      expect((await put(uploadUrl, hello)).status).toBe(200);
      expect(fleet.lines.filter((line) => line.includes('"error"'))).toEqual([]);
    } finally {
      await listener.close();
    }
  });
});

describe('Bytes that are not an acceptable module', () => {
  test.each([
    ['hostile/bad-magic.wasm', 'bad_magic'],
    ['hostile/aot-section-first.wasm', 'aot_section_forbidden'],
  ])('%s is refused as %s and the version stays pending', async (file, code) => {
    const { id, uploadUrl } = await fleet.create('hello');
    const refused = await put(uploadUrl, fixture(file));
    expect([refused.status, refused.code]).toEqual([422, code]);
    expect((await fleet.call('GET', `/api/v1/functions/${id}/versions/1.0.0`)).at('status')).toBe('pending');
    expect(leftovers()).toEqual([]);
    expect((await put(uploadUrl, hello)).status).toBe(200);
  });

  test('are refused with the offset of the fault', async () => {
    const { uploadUrl } = await fleet.create('hello', { entrypoint: 'other' });
    const refused = await put(uploadUrl, hello);
    expect([refused.status, refused.code]).toEqual([422, 'entrypoint_missing']);
    const cut = await put((await fleet.create('cut')).uploadUrl, hello.slice(0, 40));
    expect(cut.code).toBe('malformed_wasm');
    expect(cut.at('error.details.offset')).toBeNumber();
  });

  test('are refused where the upload is empty', async () => {
    const { uploadUrl } = await fleet.create('hello');
    const refused = await fleet.call('PUT', uploadUrl, { token: null });
    expect([refused.status, refused.code]).toEqual([422, 'artifact_empty']);
  });

  test('that make the check fail are an internal error, whose message only the log has', async () => {
    const broken = await openFleet({
      checkModule: () => {
        throw new Error('a secret inside');
      },
    });
    try {
      const { uploadUrl } = await broken.create('hello');
      const failed = await broken.call('PUT', uploadUrl, { body: hello, token: null });
      expect([failed.status, failed.code]).toEqual([500, 'internal']);
      expect(failed.text).not.toContain('secret');
      const id = failed.headers.get('x-request-id') ?? '';
      expect(broken.lines.some((line) => line.includes('a secret inside') && line.includes(id))).toBe(true);
    } finally {
      await broken.close();
    }
  });
});

describe('The one-call upload', () => {
  test('publishes the newest pending version, then the next patch', async () => {
    const { id } = await fleet.create('hello');
    const first = await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: hello });
    expect([first.status, first.at('version')]).toEqual([201, '1.0.0']);
    const second = await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: helloAgain });
    expect([second.status, second.at('version')]).toEqual([201, '1.0.1']);
  });

  test('publishes the version that is named, once', async () => {
    const { id } = await fleet.create('hello');
    await fleet.call('POST', `/api/v1/functions/${id}/versions`, { json: { version: '2.0.0' } });
    const target = `/api/v1/functions/${id}/upload?version=1.0.0`;
    expect((await fleet.call('POST', target, { body: hello })).status).toBe(201);
    expect((await fleet.call('POST', target, { body: hello })).status).toBe(200);
    const unknown = await fleet.call('POST', `/api/v1/functions/${id}/upload?version=3.0.0`, { body: hello });
    expect([unknown.status, unknown.code]).toEqual([404, 'version_not_found']);
    expect(
      (await fleet.call('POST', `/api/v1/functions/${id}/upload?version=x`, { body: hello })).status,
    ).toBe(422);
  });

  test('takes a form with a file and a version', async () => {
    const { id } = await fleet.create('hello');
    const form = new FormData();
    form.set('file', new Blob([hello]), 'hello.wasm');
    form.set('version', '1.0.0');
    const done = await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: form });
    expect([done.status, done.at('sha256')]).toEqual([201, sha256(hello)]);
  });

  test.each([
    ['no file', { version: '1.0.0' }, 'validation_failed'],
    ['text for a file', { file: 'text' }, 'validation_failed'],
    ['a bad version', { file: new Blob([hello]), version: '../1' }, 'validation_failed'],
  ])('refuses a form with %s', async (_, fields, code) => {
    const { id } = await fleet.create('hello');
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.set(name, value);
    const refused = await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: form });
    expect([refused.status, refused.code]).toEqual([422, code]);
  });

  test('refuses a malformed form, and one that is too large', async () => {
    const { id } = await fleet.create('hello');
    const headers = { 'content-type': 'multipart/form-data; boundary=x' };
    const broken = await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: 'nothing', headers });
    expect([broken.status, broken.code]).toEqual([400, 'bad_request']);
    const form = new FormData();
    form.set('file', new Blob([new Uint8Array(FUNCTION_BOUNDS.artifactBytesMax + 100_000)]));
    const large = await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: form });
    expect([large.status, large.code]).toEqual([413, 'artifact_too_large']);
    const announced = { ...headers, 'content-length': String(2 * FUNCTION_BOUNDS.artifactBytesMax) };
    const unread = await fleet.call('POST', `/api/v1/functions/${id}/upload`, {
      body: 'nothing',
      headers: announced,
    });
    expect([unread.status, unread.code]).toEqual([413, 'artifact_too_large']);
  });

  test('to an unknown function is refused', async () => {
    const missing = await fleet.call('POST', '/api/v1/functions/fn_x/upload', { body: hello });
    expect([missing.status, missing.code]).toEqual([404, 'function_not_found']);
  });
});

describe('The file of a published version', () => {
  const path = (): string => join(fleet.dir, 'artifacts', sha256(hello).slice(0, 2), sha256(hello));
  const download = (id: string) => fleet.call('GET', `/api/v1/artifacts/${id}/1.0.0`);

  test.each([
    ['missing', () => rmSync(path())],
    ['cut short', () => writeFileSync(path(), hello.slice(0, 20))],
    ['of other bytes', () => writeFileSync(path(), helloAgain)],
  ])('that is %s is repaired by an upload of the right bytes', async (_, damage) => {
    const { id, uploadUrl } = await fleet.create('hello');
    await put(uploadUrl, hello);
    const before = await fleet.call('GET', `/api/v1/functions/${id}/versions/1.0.0`);
    damage();
    const other = await put(uploadUrl, helloAgain);
    expect([other.status, other.code]).toEqual([409, 'version_exists']);
    expect((await put(uploadUrl, hello)).status).toBe(200);
    expect(sha256((await download(id)).bytes)).toBe(sha256(hello));
    damage();
    const one = await fleet.call('POST', `/api/v1/functions/${id}/upload?version=1.0.0`, { body: hello });
    expect(one.status).toBe(200);
    expect(sha256((await download(id)).bytes)).toBe(sha256(hello));
    expect((await fleet.call('GET', `/api/v1/functions/${id}/versions/1.0.0`)).body).toEqual(before.body);
    expect(leftovers()).toEqual([]);
  });
});

describe('Downloading an artifact', () => {
  test('returns the bytes with their digest as entity tag', async () => {
    const id = await fleet.publish('hello');
    const got = await fleet.call('GET', `/api/v1/artifacts/${id}/1.0.0`);
    expect(got.status).toBe(200);
    expect(sha256(got.bytes)).toBe(sha256(hello));
    expect(got.headers.get('etag')).toBe(`"${sha256(hello)}"`);
    expect(got.headers.get('content-type')).toBe('application/wasm');
    expect(got.headers.get('content-length')).toBe(String(hello.byteLength));
  });

  test.each([
    [`"${sha256(hello)}"`, 304],
    [`W/"${sha256(hello)}"`, 304],
    [`"other", "${sha256(hello)}"`, 304],
    ['*', 304],
    ['"other"', 200],
    [sha256(hello), 200],
  ])('with if-none-match %s is %p', async (condition, status) => {
    const id = await fleet.publish('hello');
    const got = await fleet.call('GET', `/api/v1/artifacts/${id}/1.0.0`, {
      headers: { 'if-none-match': condition },
    });
    expect(got.status).toBe(status);
    expect(got.bytes.byteLength).toBe(status === 304 ? 0 : hello.byteLength);
  });

  test('that does not exist is refused with the reason', async () => {
    const { id } = await fleet.create('hello');
    expect((await fleet.call('GET', `/api/v1/artifacts/${id}/1.0.0`)).code).toBe('version_not_published');
    expect((await fleet.call('GET', `/api/v1/artifacts/${id}/1.0.9`)).code).toBe('version_not_found');
    expect((await fleet.call('GET', '/api/v1/artifacts/fn_x/1.0.0')).code).toBe('function_not_found');
  });

  test('whose file is missing is refused as retryable', async () => {
    const id = await fleet.publish('hello');
    const digest = sha256(hello);
    await Bun.file(join(fleet.dir, 'artifacts', digest.slice(0, 2), digest)).delete();
    const gone = await fleet.call('GET', `/api/v1/artifacts/${id}/1.0.0`);
    expect([gone.status, gone.code, gone.at('error.retryable')]).toEqual([503, 'artifact_unavailable', true]);
  });

  test('is allowed to a node only for versions in its desired state', async () => {
    const mine = await fleet.publish('mine');
    const other = await fleet.publish('other');
    await fleet.call('POST', `/api/v1/functions/${mine}/deploy`, {
      json: { target_pop: ['pop-1'], allow_empty: true },
    });
    await fleet.call('POST', `/api/v1/functions/${other}/deploy`, {
      json: { target_pop: ['pop-2'], allow_empty: true },
    });
    const { node_token: token } = await fleet.join('n1');
    expect((await fleet.call('GET', `/api/v1/artifacts/${mine}/1.0.0`, { token })).status).toBe(200);
    const foreign = await fleet.call('GET', `/api/v1/artifacts/${other}/1.0.0`, { token });
    expect([foreign.status, foreign.code]).toEqual([403, 'forbidden']);
  });
});
