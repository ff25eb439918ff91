// Artifacts that are damaged, missing or orphaned: what is sent, what is found, and what is collected.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ARTIFACT_BOUNDS, ARTIFACT_TUNING } from '../../src/base/limits/control.ts';
import { type Answer, failpoints, type Fleet, hello, helloAgain, openFleet, until } from './harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');
const digest = sha256(hello);
const artifacts = (...parts: string[]): string => join(fleet.dir, 'artifacts', ...parts);
const pathOf = (name: string): string => artifacts(name.slice(0, 2), name);
const download = (id: string): Promise<Answer> => fleet.call('GET', `/api/v1/artifacts/${id}/1.0.0`);
const logged = (text: string): string[] => fleet.lines.filter((line) => line.includes(text));

/** A file under the digest of `text`, or under another name. */
function plant(text: string, name = sha256(text)): string {
  mkdirSync(dirname(pathOf(name)), { recursive: true });
  writeFileSync(pathOf(name), text);
  return name;
}

/** Lets the first pass of the scrub begin, and waits for what it finds. */
async function scrubUntil(condition: () => boolean): Promise<void> {
  await fleet.clock.advance(ARTIFACT_TUNING.scrubStepMs);
  // Each turn waits for the disk once, as the scrub does for each folder.
  await until(async () => {
    await stat(fleet.dir);
    return condition();
  });
}

/** Lets passes go by until the condition holds. */
async function passUntil(condition: () => boolean): Promise<void> {
  await until(async () => {
    await fleet.clock.advance(ARTIFACT_TUNING.scrubPauseMs);
    await stat(fleet.dir);
    return condition();
  });
}

describe('A damaged artifact', () => {
  const flipped = new Uint8Array(hello);
  flipped[hello.length - 1] = (flipped[hello.length - 1] ?? 0) ^ 1;

  test.each([
    ['one bit of it', () => writeFileSync(pathOf(digest), flipped)],
    ['its length', () => writeFileSync(pathOf(digest), hello.slice(0, 30))],
    ['its kind', () => (rmSync(pathOf(digest)), mkdirSync(pathOf(digest)))],
  ])('is not sent where %s is changed: it is set aside, and can be uploaded again', async (_, damage) => {
    const id = await fleet.publish('hello');
    expect((await download(id)).status).toBe(200);
    damage();
    const refused = await download(id);
    expect([refused.status, refused.code, refused.at('error.retryable')]).toEqual([
      503,
      'artifact_unavailable',
      true,
    ]);
    expect(readdirSync(artifacts('damaged'))).toEqual([digest]);
    expect(logged('an artifact is damaged')).toHaveLength(1);
    expect((await download(id)).status).toBe(503);
    await fleet.call('POST', `/api/v1/functions/${id}/upload?version=1.0.0`, { body: hello });
    expect(sha256((await download(id)).bytes)).toBe(digest);
  });

  test('is not sent where it cannot be moved either, and an upload mends it all the same', async () => {
    const id = await fleet.publish('hello');
    writeFileSync(artifacts('damaged'), 'in the way');
    writeFileSync(pathOf(digest), flipped);
    for (const attempt of [1, 2]) expect([attempt, (await download(id)).status]).toEqual([attempt, 503]);
    expect(logged('a damaged artifact could not be moved')).toHaveLength(1);
    await fleet.call('POST', `/api/v1/functions/${id}/upload?version=1.0.0`, { body: hello });
    expect((await download(id)).status).toBe(200);
  });

  test('that is repaired while it is found damaged stays repaired', async () => {
    const id = await fleet.publish('hello');
    writeFileSync(pathOf(digest), flipped);
    const target = `/api/v1/functions/${id}/upload?version=1.0.0`;
    const uploads = Array.from({ length: 4 }, () => fleet.call('POST', target, { body: hello }));
    const downloads = Array.from({ length: 4 }, () => download(id));
    for (const done of await Promise.all(uploads)) expect(done.status).toBe(200);
    for (const got of await Promise.all(downloads))
      if (got.status === 200) expect(sha256(got.bytes)).toBe(digest);
    expect(sha256((await download(id)).bytes)).toBe(digest);
  });

  test('is found by the scrub before anybody asks for it, and counted', async () => {
    const id = await fleet.publish('hello');
    await fleet.publish('other', helloAgain);
    writeFileSync(pathOf(digest), flipped);
    await scrubUntil(() => logged('an artifact is damaged').length === 1);
    expect(logged('an artifact is damaged')[0]).toContain(digest);
    expect(readFileSync(artifacts('damaged', digest))).toEqual(Buffer.from(flipped));
    await until(
      async () =>
        (await stat(fleet.dir)).isDirectory() &&
        (await fleet.metrics.render()).includes('control_artifacts_checked_total{found="whole"} 1'),
    );
    expect(await fleet.metrics.render()).toContain('control_artifacts_checked_total{found="damaged"} 1');
    await fleet.call('POST', `/api/v1/functions/${id}/upload?version=1.0.0`, { body: hello });
    expect((await download(id)).status).toBe(200);
  });

  test('that is missing is found too, in each pass', async () => {
    await fleet.publish('hello');
    rmSync(pathOf(digest));
    await scrubUntil(() => logged('an artifact is missing').length === 1);
    await passUntil(() => logged('an artifact is missing').length === 2);
  });
});

describe('A file that no version names', () => {
  test('is set aside, kept for the grace time, and deleted', async () => {
    const id = await fleet.publish('hello');
    const orphan = plant('nobody needs this');
    await scrubUntil(() => existsSync(artifacts('orphaned', orphan)));
    expect(existsSync(pathOf(orphan))).toBe(false);
    for (let ms = 0; ms + ARTIFACT_TUNING.scrubPauseMs < ARTIFACT_TUNING.orphanGraceMs;) {
      await fleet.clock.advance(ARTIFACT_TUNING.scrubPauseMs);
      ms += ARTIFACT_TUNING.scrubPauseMs;
    }
    expect(existsSync(artifacts('orphaned', orphan))).toBe(true);
    await passUntil(() => !existsSync(artifacts('orphaned', orphan)));
    expect((await download(id)).status).toBe(200);
  });

  test('is what an upload leaves that ends between its file and its row', async () => {
    await fleet.close();
    fleet = await openFleet({ failpoints: failpoints('artifact_kept=fail:EIO') });
    const { uploadUrl } = await fleet.create('hello');
    expect((await fleet.call('PUT', uploadUrl, { body: hello, token: null })).status).toBe(500);
    expect(existsSync(pathOf(digest))).toBe(true);
    await scrubUntil(() => existsSync(artifacts('orphaned', digest)));
    expect((await fleet.call('PUT', uploadUrl, { body: hello, token: null })).status).toBe(200);
    expect(existsSync(pathOf(digest))).toBe(true);
  });

  test('comes back with a version that names it, as after a change of the database', async () => {
    const id = await fleet.publish('hello');
    mkdirSync(artifacts('orphaned'));
    renameSync(pathOf(digest), artifacts('orphaned', digest));
    expect((await download(id)).status).toBe(200);
    renameSync(pathOf(digest), artifacts('orphaned', digest));
    await scrubUntil(() => existsSync(pathOf(digest)));
  });

  test('of another name than a digest is left alone', async () => {
    plant('notes', 'abnotes');
    const orphan = plant('nobody needs this');
    await scrubUntil(() => existsSync(artifacts('orphaned', orphan)));
    expect(existsSync(artifacts('ab', 'abnotes'))).toBe(true);
  });
});

test('Of the damaged files only the newest stay', async () => {
  const count = ARTIFACT_BOUNDS.damagedFilesMax + 2;
  mkdirSync(artifacts('damaged'));
  for (let index = 0; index < count; index += 1)
    writeFileSync(artifacts('damaged', sha256(String(index))), 'damaged');
  await scrubUntil(() => readdirSync(artifacts('damaged')).length === ARTIFACT_BOUNDS.damagedFilesMax);
});
