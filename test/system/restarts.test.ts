// An edge that is told to end answers all that it took: clients with open connections lose nothing.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Socket } from 'bun';
import {
  type Directory,
  fixture,
  freePort,
  type Running,
  start,
  statusOf,
  temporaryDirectory,
  until,
  WAIT_MS,
} from './harness.ts';

const RESTARTS = Number(process.env['EDGE_RESTARTS'] ?? 3);
const CLIENTS = 64;
const REQUESTS_PER_LIFE = 200;

let directory: Directory;
let port = 0;
let edge: Running;

async function startEdge(): Promise<void> {
  const listen = ['--listen', `127.0.0.1:${port}`, '--data-dir', directory.path];
  edge = start(['run', fixture('hello/hello-c.wasm'), ...listen]);
  await until('it answers', async () => (await statusOf(`http://127.0.0.1:${port}/`)) === 200);
}

beforeAll(async () => {
  directory = temporaryDirectory();
  port = await freePort();
  await startEdge();
}, WAIT_MS);

afterAll(async () => {
  await edge.close();
  directory[Symbol.dispose]();
}, WAIT_MS);

type Tally = { answered: number; lost: number; refused: number; isOver: boolean };

/** One connection: sends requests one after the other until the server ends it with an answer. */
function converse(tally: Tally): Promise<'ended' | 'refused'> {
  const { promise, resolve } = Promise.withResolvers<'ended' | 'refused'>();
  let text = '';
  let isWaiting = false;
  const ask = (socket: Socket): void => {
    text = '';
    isWaiting = true;
    socket.write('GET /hello HTTP/1.1\r\nHost: a\r\n\r\n');
  };
  const ended = (): void => {
    if (isWaiting) tally.lost += 1;
    isWaiting = false;
    resolve('ended');
  };
  Bun.connect({
    hostname: '127.0.0.1',
    port,
    socket: {
      open: ask,
      data(socket, chunk) {
        text += chunk.toString('latin1');
        const end = text.indexOf('\r\n\r\n');
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? Number.NaN);
        if (end < 0 || text.length < end + 4 + length) return;
        isWaiting = false;
        if (text.startsWith('HTTP/1.1 200')) tally.answered += 1;
        else tally.lost += 1;
        if (/connection: close/i.test(text.slice(0, end))) return;
        if (tally.isOver) socket.end();
        else ask(socket);
      },
      close: ended,
      error: ended,
      connectError: () => resolve('refused'),
    },
  }).catch(() => resolve('refused'));
  return promise;
}

async function client(tally: Tally): Promise<void> {
  while (!tally.isOver) {
    if ((await converse(tally)) === 'ended') continue;
    tally.refused += 1;
    await Bun.sleep(20);
  }
}

describe('An edge that is restarted under load', () => {
  test(
    `${RESTARTS} times loses no request of ${CLIENTS} clients`,
    async () => {
      const tally: Tally = { answered: 0, lost: 0, refused: 0, isOver: false };
      const clients = Array.from({ length: CLIENTS }, () => client(tally));
      for (let life = 0; life < RESTARTS; life += 1) {
        const goal = tally.answered + REQUESTS_PER_LIFE;
        await until('requests were answered', () => tally.answered >= goal);
        edge.signal('SIGTERM');
        expect(await edge.exited).toBe(0);
        await startEdge();
      }
      tally.isOver = true;
      await Promise.all(clients);
      expect(tally.lost).toBe(0);
      expect(tally.answered).toBeGreaterThan(RESTARTS * REQUESTS_PER_LIFE);
    },
    (RESTARTS + 1) * WAIT_MS,
  );

  test('is not held up by a request whose body does not come', async () => {
    const socket = await Bun.connect({ hostname: '127.0.0.1', port, socket: { data() {} } });
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf');
    await until('it is connected', () => socket.bytesWritten > 0);
    const startMs = performance.now();
    await edge.close();
    expect(performance.now() - startMs).toBeLessThan(5_000);
    await startEdge();
  });
});
