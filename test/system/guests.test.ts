// Every guest of fixtures/manifest.json, hostile ones included, through the built executable.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { readGuest, readGuestCases, type GuestAnswer, type GuestCase } from '../fixtures/manifest.ts';
import {
  type Directory,
  type Published,
  type Up,
  WAIT_MS,
  codeOf,
  deployed,
  fixture,
  publish,
  startUp,
  temporaryDirectory,
} from './harness.ts';

/** The time limit of every guest, and the longest wait for an answer on a busy machine. */
const EXECUTION_MS = 400;
const ANSWER_MS_MAX = 3_000;

const cases = await readGuestCases();

const keyOf = (guest: GuestCase): string => `${guest.file} ${JSON.stringify(guest.settings ?? {})}`;
const nameOf = (guest: GuestCase): string => new Bun.CryptoHasher('sha1').update(keyOf(guest)).digest('hex');
const hostOf = (guest: GuestCase): string => `${nameOf(guest)}.test`;

/** Cases with the same module and settings share a deployment. */
const groups = new Map<string, GuestCase[]>();
for (const each of cases) {
  const key = keyOf(each);
  groups.set(key, [...(groups.get(key) ?? []), each]);
}

let directory: Directory;
let up: Up;
let zygote: number;
let neighbourErrors = 0;
let running = true;
let neighbour: Promise<void>;

beforeAll(async () => {
  directory = temporaryDirectory();
  up = await startUp(directory.path, { args: ['--invocations-per-minute', '100000000'] });
  await deployed(up, fixture('hello/hello-c.wasm'), [
    '--name',
    'neighbour',
    '--route',
    '/neighbour',
    '--host',
    '127.0.0.1',
  ]);
  zygote = await up.zygote();
  neighbour = (async () => {
    while (running) {
      const response = await fetch(`${up.publicUrl}/neighbour`);
      if (response.status !== 200 || (await response.text()) !== 'Hello from edge!\n') neighbourErrors += 1;
      await Bun.sleep(5);
    }
  })();
}, 120_000);

afterAll(async () => {
  running = false;
  await neighbour;
  await up.close();
  directory[Symbol.dispose]();
}, WAIT_MS);

async function send(guest: GuestCase): Promise<{ status: number; headers: Headers; body: Buffer }> {
  const { method = 'GET', path = '/', headers = {}, body } = guest.request ?? {};
  const response = await fetch(`${up.publicUrl}${path}`, {
    method,
    headers: { ...headers, host: hostOf(guest) },
    ...(body === undefined ? {} : { body }),
    redirect: 'manual',
  });
  return {
    status: response.status,
    headers: response.headers,
    body: Buffer.from(await response.arrayBuffer()),
  };
}

function isAllowed(allowed: GuestAnswer[], status: number, code: string | undefined): boolean {
  return allowed.some(
    (answer) => answer.status === status && (answer.code === undefined || answer.code === code),
  );
}

function expectBody(guest: GuestCase, headers: Headers, body: Buffer): void {
  const text = body.toString('utf8');
  if (guest.body !== undefined) expect(text).toBe(guest.body);
  if (guest.body_prefix !== undefined) expect(text).toStartWith(guest.body_prefix);
  for (const part of guest.body_contains ?? []) expect(text).toContain(part);
  if (guest.body_not !== undefined) expect(text).not.toContain(guest.body_not);
  if (guest.body_length !== undefined) expect(body.length).toBe(guest.body_length);
  for (const [name, value] of Object.entries(guest.headers ?? {})) expect(headers.get(name)).toBe(value);
}

async function expectAnswer(guest: GuestCase): Promise<void> {
  const allowed = guest.answer_any ?? (guest.answer === null ? [] : [guest.answer]);
  for (const wanted of guest.bodies ?? [undefined]) {
    const begun = performance.now();
    const { status, headers, body } = await send(guest);
    const took = performance.now() - begun;
    const code = status >= 400 ? /"code":"([a-z_]+)"/.exec(body.toString('utf8'))?.[1] : undefined;
    expect({ what: guest.what, status, code, fits: isAllowed(allowed, status, code) }).toMatchObject({
      fits: true,
    });
    expect(took).toBeLessThan(ANSWER_MS_MAX);
    if (status === guest.answer?.status && (guest.answer.code === undefined || guest.answer.code === code)) {
      expectBody(guest, headers, body);
    }
    if (wanted !== undefined) expect(body.toString('utf8')).toBe(wanted);
  }
}

/** For a module that could not start: the node reports an allowed code and requests fail. */
async function expectStartFailure(guest: GuestCase, published: Published): Promise<void> {
  const allowed = guest.answer_any ?? (guest.answer === null ? [] : [guest.answer]);
  const reported = published.nodes[0]?.error ?? '';
  expect({
    reported,
    fits: allowed.some(({ code }) => code !== undefined && reported.startsWith(code)),
  }).toMatchObject({
    fits: true,
  });
  expect((await send(guest)).status).toBeGreaterThanOrEqual(404);
}

describe('A guest', () => {
  test.each([...groups].map(([key, group]) => [key, group] as const))(
    '%s',
    async (_, group) => {
      const [first] = group;
      if (first === undefined) throw new Error('a group has no case');
      const settings = { max_execution_ms: EXECUTION_MS, ...first.settings };
      const published = await publish(up, await readGuest(first.file), {
        name: nameOf(first),
        host: hostOf(first),
        settings,
      });
      if (!published.ok) {
        expect({ status: published.status, code: published.code }).toEqual({
          status: 422,
          code: first.upload,
        });
        return;
      }
      expect(first.upload).toBe('accepted');
      const started = published.nodes.every(({ state }) => state === 'cached');
      for (const guest of group) await (started ? expectAnswer(guest) : expectStartFailure(guest, published));
      expect((await up.api('POST', `/functions/${published.functionId}/undeploy`, {})).status).toBe(200);
    },
    60_000,
  );
});

describe('After every guest', () => {
  test('the engine is the same, the neighbour saw no error, and health checks answer at once', async () => {
    expect(neighbourErrors).toBe(0);
    expect(await up.zygote()).toBe(zygote);
    const begun = performance.now();
    expect((await fetch(`${up.metricsUrl}/livez`)).status).toBe(200);
    expect((await fetch(`${up.controlUrl}/livez`)).status).toBe(200);
    expect(performance.now() - begun).toBeLessThan(200);
  });

  test('no temporary file is left', () => {
    const left = readdirSync(directory.path, { recursive: true }).filter((path) =>
      /\.(tmp|part)/.test(String(path)),
    );
    expect(left).toEqual([]);
  });

  test('an unknown host still gets route_not_found', async () => {
    const response = await fetch(`${up.publicUrl}/`, { headers: { host: 'unknown.test' } });
    expect(response.status).toBe(404);
    expect(await codeOf(response)).toBe('route_not_found');
  });
});
