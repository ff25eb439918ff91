// The socket of the engine process accepts one stream of events, one of wakes, and nothing else.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Socket } from 'bun';
import { type EngineSocket, openEngineSocket } from '../../../src/engine/process/engine_socket.ts';
import { until } from '../harness.ts';

let directory = '';
let engineSocket: EngineSocket;
let seen: string[];
const frame = (kind: number): Buffer => Buffer.from(new Uint32Array([kind, 0, 0, 0, 0, 0, 0, 0]).buffer);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'edge-test-'));
  seen = [];
  engineSocket = openEngineSocket({
    socketPath: join(directory, 'engine'),
    event: (event) => void seen.push(`event ${event.kind}`),
    wakes: {
      woke: (slot, generation) => void seen.push(`woke ${slot} ${generation}`),
      wake: () => void seen.push('wake'),
    },
    closed: () => void seen.push('closed'),
  });
});
afterEach(async () => {
  engineSocket.close();
  await rm(directory, { recursive: true });
});

type Caller = { socket: Socket; isClosed: () => boolean };

async function call(): Promise<Caller> {
  let isClosed = false;
  const close = (): void => {
    isClosed = true;
  };
  const socket = await Bun.connect({
    unix: join(directory, 'engine'),
    socket: { data: () => undefined, close, error: close },
  });
  return { socket, isClosed: () => isClosed };
}

describe('The socket of the engine process', () => {
  test('takes the preface and frames in any pieces', async () => {
    const { socket } = await call();
    const bytes = Buffer.concat([Buffer.from('E'), frame(1), frame(4)]);
    socket.write(bytes.subarray(0, 40));
    await until('the first event', () => seen.length === 1);
    socket.write(bytes.subarray(40));
    await until('both events', () => seen.length === 2);
    expect(seen).toEqual(['event open', 'event compiled']);
  });

  test('passes on each wake-up with its worker, then asks for the reports of all', async () => {
    const { socket } = await call();
    socket.write('W');
    await until('the first', () => seen.length === 1);
    socket.write(Buffer.from(new Uint32Array([16, 3, 8, 5]).buffer));
    await until('the second', () => seen.length === 4);
    expect(seen).toEqual(['wake', 'woke 16 3', 'woke 8 5', 'wake']);
  });

  test.each([
    ['a second stream of the same kind', 'E'],
    ['a stream of no kind', 'X'],
  ])('shuts out %s', async (_, preface) => {
    const first = await call();
    first.socket.write('E');
    first.socket.write(frame(2));
    await until('the first is in', () => seen.length === 1);
    const second = await call();
    second.socket.write(preface);
    second.socket.write(frame(9));
    await until('it is shut out', second.isClosed);
    expect(seen).toEqual(['event started']);
  });

  test('is shut once both streams are there', async () => {
    const events = await call();
    const wakes = await call();
    events.socket.write('E');
    wakes.socket.write('W');
    await until('both are in', () => seen.includes('wake'));
    events.socket.write(frame(1));
    await until('the event is read', () => seen.includes('event open'));
    const third = await call().catch(() => null);
    if (third !== null) await until('the third is shut out', third.isClosed);
    expect(seen).toEqual(['wake', 'event open']);
  });

  test('says when a stream ends', async () => {
    const { socket } = await call();
    socket.write('E');
    socket.write(frame(1));
    await until('it is in', () => seen.length === 1);
    socket.end();
    await until('it has ended', () => seen.includes('closed'));
  });
});
