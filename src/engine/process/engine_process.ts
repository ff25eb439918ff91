// One engine process from spawn to end: its ring, its two sockets, its log lines.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { ENGINE_BOUNDS } from '../../base/limits/engine.ts';
import type { Log } from '../../base/log.ts';
import { openDoor } from './engine_socket.ts';
import { EVENT, type EngineEvent } from './frames.ts';
import { LAYOUT_VERSION, type RingGeometry } from '../ring/geometry.ts';
import { firstLine, logLines } from './output.ts';
import { openRing, type Ring } from '../ring/ring.ts';
import type { RingLibrary } from '../ring/library.ts';
import { encodeRoleInput } from './role_input.ts';

/** `ended` comes once, also for an end that `close` asked for; the ring may not be used from then on. */
export type EngineProcessHandlers = {
  event(event: EngineEvent): void;
  wake(): void;
  ended(): void;
};

export type EngineProcess = {
  readonly pid: number;
  readonly ring: Ring;
  readonly wasmedgeVersion: string;
  close(): Promise<void>;
};

export type EngineProcessOptions = {
  library: RingLibrary;
  libraryDir: string;
  /** The program and its arguments; the role and its input come in the environment. */
  command: readonly string[];
  geometry: RingGeometry;
  clock: Clock;
  log: Log;
  handlers: EngineProcessHandlers;
};

const MEMFD = 3;
const COMMAND_FD = 4;
const SOCKET_PATH_BYTES_MAX = 107;

/** Resolves when the process has said that it serves; throws when it ends or stays silent before. */
export async function startEngineProcess(options: EngineProcessOptions): Promise<EngineProcess> {
  const { clock, geometry, handlers, library, log } = options;
  const held = new AsyncDisposableStack();
  const opened = Promise.withResolvers<EngineEvent>();
  // Nobody listens to the refusal when the process ends after it opened.
  opened.promise.catch(() => undefined);
  let released: Promise<void> | null = null;
  /** From here on the ring may not be used; it goes when the process is gone. */
  const end = (): Promise<void> => {
    if (released !== null) return released;
    released = Promise.resolve().then(() => held.disposeAsync());
    opened.reject(new Error('the engine process ended before it served'));
    handlers.ended();
    return released;
  };
  const ended = (): void => {
    end().catch((failure: unknown) =>
      log.error('the engine process was not cleared away', { error: String(failure) }),
    );
  };
  try {
    const directory = await makeDirectory(held);
    const socketPath = join(directory, 'engine');
    const ring = openRing({ library, geometry });
    held.defer(() => ring.close());
    const event = (one: EngineEvent): void =>
      one.kind === EVENT.open ? opened.resolve(one) : handlers.event(one);
    const door = openDoor({ socketPath, event, wake: () => handlers.wake(), closed: ended });
    held.defer(() => door.close());
    const child = spawnEngine({ ...options, ring, socketPath, onExit: ended });
    held.defer(async () => {
      child.kill('SIGKILL');
      await child.exited;
    });
    void logLines(child.stderr, log);
    const opening = Promise.all([opened.promise, firstLine(child.stdout)]);
    const answer = await within(clock, ENGINE_BOUNDS.openMs, opening);
    if (answer === 'late') throw new Error('the engine process did not serve in time');
    const [open, wasmedgeVersion] = answer;
    if (open.value !== 1) throw new Error(`the engine process has ${open.value} threads and may not fork`);
    await rm(directory, { recursive: true, force: true });
    const close = async (): Promise<void> => {
      if (released === null) {
        ring.closeCommand();
        await within(clock, ENGINE_BOUNDS.closeMs, child.exited);
      }
      await end();
    };
    return { pid: child.pid, ring, wasmedgeVersion, close };
  } catch (failure) {
    await end();
    throw failure;
  }
}

/** A private directory for the socket, whose name must fit into `sockaddr_un`. */
async function makeDirectory(held: AsyncDisposableStack): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'edge-'));
  held.defer(() => rm(directory, { recursive: true, force: true }));
  if (Buffer.byteLength(join(directory, 'engine')) <= SOCKET_PATH_BYTES_MAX) return directory;
  throw new Error(`the directory for temporary files has too long a name for a socket: ${tmpdir()}`);
}

function spawnEngine(
  options: EngineProcessOptions & { ring: Ring; socketPath: string; onExit: () => void },
): Bun.Subprocess<'ignore', 'pipe', 'pipe'> {
  const { command, geometry, libraryDir, onExit, ring, socketPath } = options;
  const commandFd = ring.openCommand();
  try {
    return Bun.spawn([...command], {
      cwd: '/',
      env: encodeRoleInput({
        layoutVersion: LAYOUT_VERSION,
        libraryDir,
        socketPath,
        geometry,
        memfd: MEMFD,
        commandFd: COMMAND_FD,
      }),
      stdio: ['ignore', 'pipe', 'pipe', ring.memfd, commandFd],
      onExit,
    });
  } finally {
    ring.closeFd(commandFd);
  }
}

/** What `promise` gives, or `late` after `ms`. */
async function within<T>(clock: Clock, ms: number, promise: Promise<T>): Promise<T | 'late'> {
  const timer = new AbortController();
  try {
    return await Promise.race([promise, clock.sleep(ms, timer.signal).then(() => 'late' as const)]);
  } finally {
    timer.abort();
  }
}
