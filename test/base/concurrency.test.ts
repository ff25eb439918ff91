// A gate refuses work above its maximum, and a serial queue runs one piece of work at a time.
import { describe, expect, test } from 'bun:test';
import { createGate, createSerialQueue } from '../../src/base/concurrency.ts';

describe('A gate', () => {
  test('refuses at once above its maximum, and admits again when one has left', async () => {
    const gate = createGate({ max: 1 });
    const work = Promise.withResolvers<void>();
    const inside = gate.enter(() => work.promise);
    await expect(gate.enter(async () => undefined)).rejects.toMatchObject({ code: 'overloaded' });
    work.resolve();
    await inside;
    expect(gate.inside).toBe(0);
    expect(await gate.enter(() => Promise.resolve(1))).toBe(1);
  });

  test('counts who is inside', async () => {
    const gate = createGate({ max: 2 });
    const leave: (() => void)[] = [];
    const enter = () => gate.enter(() => new Promise<void>((resolve) => void leave.push(resolve)));
    const inside = [enter(), enter()];
    expect(gate.inside).toBe(2);
    await expect(enter()).rejects.toMatchObject({ code: 'overloaded' });
    for (const go of leave) go();
    await Promise.all(inside);
    expect(gate.inside).toBe(0);
  });

  test('has room again after work that fails', async () => {
    const gate = createGate({ max: 1 });
    await expect(gate.enter(() => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    expect(await gate.enter(async () => 'again')).toBe('again');
  });
});

describe('A serial queue', () => {
  test('runs in order, one at a time, also after a failure', async () => {
    const queue = createSerialQueue();
    const events: string[] = [];
    const step = (name: string, fails = false): Promise<void> =>
      queue(async () => {
        events.push(`${name} begins`);
        await Bun.sleep(0);
        events.push(`${name} ends`);
        if (fails) throw new Error(name);
      });
    const all = await Promise.allSettled([step('a', true), step('b'), step('c')]);
    expect(all.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
    expect(events).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
  });
});
