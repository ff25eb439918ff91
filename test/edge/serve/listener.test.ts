// The public listener alone: what it waits for when it drains.
import { describe, expect, test } from 'bun:test';
import { createSystemClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { openPublicListener, type PublicListener } from '../../../src/edge/serve/listener.ts';
import { openRingLibrary } from '../../../src/engine/ring/ring.ts';
import { libraryDir } from '../../engine/harness.ts';
import { openRaw, until } from '../harness.ts';

const { stopListening } = openRingLibrary(libraryDir());

function open(answer: () => Promise<Response>, unfinished = (): number => 0): PublicListener {
  const clock = createSystemClock();
  return openPublicListener({
    listen: { host: '127.0.0.1', port: 0 },
    handle: answer,
    clock,
    log: createLog({ clock, write: () => {} }),
    requestBytesMax: 1_000,
    stopListening,
    unfinished,
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

  test('answers what comes on open connections, ends them with that, and takes no new ones', async () => {
    const listener = open(async () => new Response('whole'));
    const known = openRaw(listener.port);
    known.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until('it is served', () => known.text().includes('whole'));
    expect(known.text().toLowerCase()).not.toContain('connection: close');
    const drained = listener.drain();
    await expect(fetch(`http://127.0.0.1:${listener.port}/`)).rejects.toThrow();
    known.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until('it is served and closed', known.isClosed);
    expect(known.text().match(/whole/g)).toHaveLength(2);
    expect(known.text().toLowerCase()).toContain('connection: close');
    await drained;
    await listener.close();
  });

  test('does not wait for a body that has not come', async () => {
    const gate = Promise.withResolvers<Response>();
    let running = 0;
    const listener = open(
      () => {
        running += 1;
        return gate.promise;
      },
      () => running,
    );
    const half = openRaw(listener.port);
    half.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf');
    await until('it has begun', () => running === 1);
    await listener.drain();
    await listener.close();
    gate.resolve(new Response('never'));
    await until('the connection is closed', half.isClosed);
  });
});
