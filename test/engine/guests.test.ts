// Every guest that an upload accepts, run by the real engine: what it answers, or the fault that ends it.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { ERRORS } from '../../src/base/errors.ts';
import type { InvocationOutcome } from '../../src/model/invocation.ts';
import { type GuestAnswer, type GuestCase, readGuestCases } from '../fixtures/manifest.ts';
import { openTestEngine, type TestEngine } from './harness.ts';

const BODILESS: ReadonlySet<number> = new Set([204, 304]);
const cases = await readGuestCases();
let host: TestEngine;

beforeAll(async () => {
  host = await openTestEngine({ limits: { poolWorkersMax: 1 } });
  await host.engine.ready();
});
afterAll(() => host.close());

type Seen = { status: number; code: string | undefined; body: string; headers: Record<string, string> };

function see(outcome: InvocationOutcome): Seen {
  if (outcome.kind === 'answer') {
    const body = Buffer.from(outcome.body).toString('latin1');
    return { status: outcome.status, code: undefined, body, headers: Object.fromEntries(outcome.headers) };
  }
  if (outcome.kind !== 'fault') throw new Error(`neither answer nor fault: ${JSON.stringify(outcome)}`);
  return { status: ERRORS[outcome.code].status, code: outcome.code, body: '', headers: {} };
}

const isRight = (seen: Seen, right: GuestAnswer): boolean =>
  seen.status === right.status && seen.code === right.code;

function judge(guest: GuestCase, seen: Seen): void {
  const first = guest.answer;
  if (first === null) throw new Error('a guest that was refused has no answer');
  if (!isRight(seen, first)) {
    expect(guest.answer_any ?? [first]).toContainEqual(
      seen.code === undefined ? { status: seen.status } : { status: seen.status, code: seen.code },
    );
    return;
  }
  // The listener, not the engine, leaves out the body of an answer that may not have one.
  if (guest.body !== undefined && !BODILESS.has(seen.status)) expect(seen.body).toBe(guest.body);
  if (guest.body_prefix !== undefined) expect(seen.body.startsWith(guest.body_prefix)).toBe(true);
  if (guest.body_length !== undefined) expect(seen.body).toHaveLength(guest.body_length);
  if (guest.body_not !== undefined) expect(seen.body).not.toBe(guest.body_not);
  for (const part of guest.body_contains ?? []) expect(seen.body).toContain(part);
  for (const [name, value] of Object.entries(guest.headers ?? {})) expect(seen.headers[name]).toBe(value);
}

async function run(guest: GuestCase): Promise<void> {
  const { pool, code } = await host.openGuest(guest.file, { max_execution_ms: 500, ...guest.settings });
  const { method = 'GET', path = '/', headers = {}, body } = guest.request ?? {};
  const request = {
    method,
    target: path,
    headers: Object.entries(headers)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join(''),
    body: body === undefined ? null : new TextEncoder().encode(body),
  };
  try {
    const bodies = guest.bodies ?? [undefined];
    for (const expected of bodies) {
      const seen = see(await host.invoke(pool, request, 500));
      judge(guest, seen);
      if (expected !== undefined) expect(seen.body).toBe(expected);
    }
  } finally {
    await pool.close({ graceMs: 0 });
    code.close();
  }
}

describe('A guest that an upload accepts', () => {
  const accepted = cases.filter((guest) => guest.upload === 'accepted');
  test.each(accepted.map((guest) => [guest.file, guest.what, guest] as const))(
    '%s: %s',
    async (_, __, guest) => {
      await run(guest);
    },
  );

  test('leaves no worker behind', () => {
    expect(host.engine.stats()).toMatchObject({ workers: 0, busy: 0, restarts: 0 });
  });
});
