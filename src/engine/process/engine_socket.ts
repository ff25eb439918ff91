// The unix socket on which the engine process calls back: exactly one stream of events and one of wakes.
import type { Socket } from 'bun';
import { createFrameReader, type EngineEvent, type FrameReader } from './frames.ts';
import { createWakeReader, type WakeReader } from './wakes.ts';

export type EngineSocket = { close(): void };

export type WakeHandlers = {
  /** A worker sent a wake-up. */
  woke(slot: number, generation: number): void;
  /** After all wake-ups that came together: workers have finished something. */
  wake(): void;
};

type Peer = { kind: 'unknown' | 'events' | 'wakes'; frames: FrameReader; wakes: WakeReader };

/** First byte of each stream (`enum edge_preface`). */
export const PREFACE = { events: 0x45, wakes: 0x57 } as const;

/** Refuses every connection but the first of each stream. `closed`: one of the two has ended. */
export function openEngineSocket(options: {
  socketPath: string;
  event(event: EngineEvent): void;
  wakes: WakeHandlers;
  closed(): void;
}): EngineSocket {
  const { socketPath, event, wakes, closed } = options;
  const peers: { events: Socket<Peer> | null; wakes: Socket<Peer> | null } = { events: null, wakes: null };
  const accept = (socket: Socket<Peer>, preface: number | undefined): boolean => {
    const kind = kindOf(preface);
    if (kind === null || peers[kind] !== null) {
      socket.terminate();
      return false;
    }
    peers[kind] = socket;
    socket.data.kind = kind;
    if (peers.events !== null && peers.wakes !== null) listener.stop(false);
    return true;
  };
  const listener = Bun.listen<Peer>({
    unix: socketPath,
    socket: {
      open(socket) {
        socket.data = { kind: 'unknown', frames: createFrameReader(), wakes: createWakeReader() };
      },
      data(socket, chunk) {
        const peer = socket.data;
        let rest: Uint8Array = chunk;
        if (peer.kind === 'unknown') {
          if (!accept(socket, chunk[0])) return;
          rest = chunk.subarray(1);
        }
        if (socket.data.kind === 'wakes') {
          peer.wakes.read(rest, (slot, generation) => wakes.woke(slot, generation));
          return wakes.wake();
        }
        for (const one of peer.frames.read(rest)) event(one);
      },
      close(socket) {
        if (socket.data.kind !== 'unknown') closed();
      },
      error(socket) {
        if (socket.data.kind !== 'unknown') closed();
      },
    },
  });
  return {
    close() {
      listener.stop(true);
      peers.events?.terminate();
      peers.wakes?.terminate();
    },
  };
}

function kindOf(preface: number | undefined): 'events' | 'wakes' | null {
  if (preface === PREFACE.events) return 'events';
  return preface === PREFACE.wakes ? 'wakes' : null;
}
