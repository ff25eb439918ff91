// Which lines of requests and guests reach the log, and how many.
import { describe, expect, test } from 'bun:test';
import { createLog } from '../../../src/base/log.ts';
import { createLogBudget } from '../../../src/edge/serve/log_budget.ts';
import { createTestClock, functionId, openTestServer } from '../harness.ts';

describe('The log of requests', () => {
  test('has the lines of a guest with request, function and version, at their level', async () => {
    const logs = {
      lines: [
        { level: 3, text: 'careful' },
        { level: 0, text: 'fine\n{"x":1}' },
      ],
      dropped: 2,
    };
    await using server = openTestServer({
      handler: () => ({ kind: 'answer', status: 200, headers: [], body: new Uint8Array(0), logs }),
    });
    await fetch(server.url, { headers: { 'x-request-id': 'r1' } });
    const common = { request_id: 'r1', function_id: functionId(1), version: '1.2.3' };
    expect(server.lines).toMatchObject([
      { level: 'warn', message: 'careful', source: 'guest', ...common },
      { level: 'debug', message: 'fine\n{"x":1}', ...common },
      { level: 'warn', dropped_count: 2, ...common },
    ]);
  });

  test('has a line for each answer only with accessLog all', async () => {
    for (const [accessLog, count] of [
      ['all', 1],
      ['errors', 0],
    ] as const) {
      await using server = openTestServer({ accessLog });
      await fetch(server.url);
      expect(server.lines.length).toBe(count);
    }
  });

  test('takes a bounded number of lines of guests per second', async () => {
    const clock = createTestClock();
    const logs = { lines: Array.from({ length: 100 }, () => ({ level: 2, text: 'x' })), dropped: 0 };
    await using server = openTestServer({
      clock,
      handler: () => ({ kind: 'answer', status: 200, headers: [], body: new Uint8Array(0), logs }),
    });
    for (let i = 0; i < 8; i += 1) await fetch(server.url);
    expect(server.lines.length).toBe(500);
    await clock.advance(1_000);
    await fetch(server.url);
    expect(server.lines.find(({ message }) => message === 'log lines were dropped')).toMatchObject({
      dropped_count: 300,
    });
  });

  test('has room for a quiet project while a loud one takes all of it', async () => {
    const clock = createTestClock();
    const lines: string[] = [];
    const log = createLog({ clock, write: (line) => void lines.push(line) });
    const budget = createLogBudget({ clock, log, linesPerSecondMax: 50, linesOfQuietMax: 5 });
    const [loud, quiet] = [{}, {}];
    const count = (share: object, times: number): number =>
      Array.from({ length: times }, () => budget.take(share)).filter(Boolean).length;
    expect(count(loud, 1_000)).toBe(50);
    expect(count(quiet, 40)).toBe(5);
    const others = Array.from({ length: 100 }, () => count({}, 1)).filter((taken) => taken === 1);
    expect(others).toHaveLength(45);
    await clock.advance(1_000);
    expect(count(quiet, 40)).toBe(40);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('"dropped_count":1040');
  });
});
