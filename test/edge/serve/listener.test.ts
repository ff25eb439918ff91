// The public listener alone: what it waits for when it drains.
import { describe, expect, test } from 'bun:test';
import { createSystemClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { openPublicListener, type PublicListener } from '../../../src/edge/serve/listener.ts';
import { openRaw, until } from '../harness.ts';

function open(answer: () => Promise<Response>): PublicListener {
  const clock = createSystemClock();
  return openPublicListener({
    listen: { host: '127.0.0.1', port: 0 },
    handle: answer,
    clock,
    log: createLog({ clock, write: () => {} }),
    requestBytesMax: 1_000,
  });
}

describe('A listener that drains', () => {
  test('does not wait for a request of which only half a head has come', async () => {
    const listener = open(async () => new Response('whole'));
    const half = openRaw(listener.port);
    half.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until('the connection is served', () => half.text().includes('whole'));
    half.write('GET / HTTP/1.1\r\nHo');
    const other = await fetch(`http://127.0.0.1:${listener.port}/`, { headers: { connection: 'close' } });
    expect(await other.text()).toBe('whole');
    await listener.drain();
    await listener.close();
    await until('the connection is closed', half.isClosed);
  });

  test('waits for a request that is being answered', async () => {
    const gate = Promise.withResolvers<Response>();
    let isRunning = false;
    const listener = open(() => {
      isRunning = true;
      return gate.promise;
    });
    const running = fetch(`http://127.0.0.1:${listener.port}/`);
    await until('it runs', () => isRunning);
    let isDrained = false;
    const drained = listener.drain().then(() => (isDrained = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isDrained).toBe(false);
    gate.resolve(new Response('last'));
    expect(await (await running).text()).toBe('last');
    await drained;
    await listener.close();
  });
});
