// One engine process from spawn to end: its ring, its two sockets, its log lines.
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { within } from '../../base/deadline.ts';
import { ENGINE_BOUNDS } from '../../base/limits/engine.ts';
import type { Log } from '../../base/log.ts';
import type { WallReport } from '../../model/wall.ts';
import { LAYOUT_VERSION, type RingGeometry } from '../ring/geometry.ts';
import type { Ring, RingLibrary } from '../ring/ring.ts';
import { openEngineSocket, type WakeHandlers } from './engine_socket.ts';
import { createWallCollector } from '../wall/parts.ts';
import { type EngineWall, refusalOf } from '../wall/wall.ts';
import type { EngineEvent } from './frames.ts';
import { firstLine, logLines } from './output.ts';
import { EngineUnusable } from '../ring/process_exit.ts';
import { ENGINE_EXIT, encodeRoleInput } from './role_input.ts';
import { createWatchdog, type Watchdog } from './watchdog.ts';

export type EngineProcessHandlers = {
  /** Everything but the events that open the process and answer its watchdog. */
  event(event: EngineEvent): void;
  wakes: WakeHandlers;
  /** Every part of the wall was tried; called once, before the process serves or ends. */
  wall(report: WallReport): void;
  /** Called once, also for an end that `close` asked for; the ring may not be used afterwards. */
  ended(): void;
};

export type EngineProcess = {
  readonly pid: number;
  readonly ring: Ring;
  readonly wasmedgeVersion: string;
  /** Whether it still obeys; one that stays silent is killed. */
  isAnswering(): boolean;
  /** Waits `ENGINE_BOUNDS.closeMs` for the process to end by itself, then kills it. */
  close(): Promise<void>;
};

export type EngineProcessOptions = {
  library: RingLibrary;
  libraryDir: string;
  /** The program and its arguments; the role and its input come in the environment. */
  command: readonly string[];
  geometry: RingGeometry;
  wall: Pick<EngineWall, 'allowsWeak' | 'confine'>;
  clock: Clock;
  log: Log;
};

/** The descriptor of the child after its standard ones. */
const COMMAND_FD = 3;
/** Where a Linux system keeps files in memory. */
const MEMORY_DIRECTORIES = ['/dev/shm', '/run'];
/** `sun_path` of `sockaddr_un`, without its NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

const OTHER_LAYOUT =
  'libedge_engine.so was built with another layout of the ring than this program: ' +
  'rebuild both with `bun build.ts`, or install the executable again';

/**
 * Resolves when the process serves; throws when it ends or stays silent before, an `EngineUnusable` where no
 * other process would serve either.
 */
export async function startEngineProcess(
  options: EngineProcessOptions & { handlers: EngineProcessHandlers },
): Promise<EngineProcess> {
  const { clock, geometry, handlers, library, log } = options;
  const resources = new AsyncDisposableStack();
  const opened = Promise.withResolvers<{ threads: number }>();
  // A process that ends after it opened rejects this with nobody to hear.
  opened.promise.catch(() => undefined);
  let released: Promise<void> | null = null;
  const end = (exitCode: number | null = null): Promise<void> => {
    if (released !== null) return released;
    released = Promise.resolve().then(() => resources.disposeAsync());
    opened.reject(reasonOf(exitCode));
    handlers.ended();
    return released;
  };
  const ended = (exitCode: number | null = null): void => {
    end(exitCode).catch((failure: unknown) =>
      log.error('what an engine process left could not be removed', { error: String(failure) }),
    );
  };
  try {
    const directory = await makeDirectory(resources);
    const socketPath = join(directory, 'engine');
    const ring = library.open(geometry);
    resources.defer(() => ring.close());
    let watchdog: Watchdog | null = null;
    const wall = createWallCollector((report) => tried(report, options, opened.reject));
    const event = (one: EngineEvent): void => {
      if (one.kind === 'open') opened.resolve(one);
      else if (one.kind === 'wall') wall.add(one.part);
      else if (one.kind === 'pong') watchdog?.pong();
      else handlers.event(one);
    };
    const socket = openEngineSocket({ socketPath, event, wakes: handlers.wakes, closed: ended });
    resources.defer(() => socket.close());
    const child = spawnEngine({ ...options, ring, socketPath, onExit: ended });
    wall.add(options.wall.confine(child.pid));
    resources.defer(async () => {
      child.kill('SIGKILL');
      await child.exited;
    });
    void logLines(child.stderr, log);
    const opening = Promise.all([opened.promise, firstLine(child.stdout)]);
    const answer = await within(clock, ENGINE_BOUNDS.openMs, opening);
    if (answer === 'late') throw new Error('the engine process did not serve in time');
    const [{ threads }, wasmedgeVersion] = answer;
    checkOpened({ threads, isWallTried: wall.isComplete() });
    await rm(directory, { recursive: true, force: true });
    watchdog = watch({ clock, log, ring, child, resources });
    const { isAnswering } = watchdog;
    return {
      pid: child.pid,
      ring,
      wasmedgeVersion,
      isAnswering,
      async close() {
        if (released === null) {
          ring.closeCommand();
          await within(clock, ENGINE_BOUNDS.closeMs, child.exited);
        }
        await end();
      },
    };
  } catch (failure) {
    await end();
    throw failure;
  }
}

function tried(
  report: WallReport,
  options: { wall: Pick<EngineWall, 'allowsWeak'>; handlers: Pick<EngineProcessHandlers, 'wall'> },
  refuse: (reason: Error) => void,
): void {
  options.handlers.wall(report);
  const refusal = refusalOf(report, options.wall);
  if (refusal !== null) refuse(new Error(refusal));
}

/** Throws unless the process may fork guests. */
function checkOpened({ threads, isWallTried }: { threads: number; isWallTried: boolean }): void {
  if (threads !== 1) throw new Error(`the engine process has ${threads} threads and may not fork`);
  if (!isWallTried) throw new Error('the engine process did not try its wall');
}

/** Why a process that ended with this code did not serve. */
function reasonOf(exitCode: number | null): Error {
  if (exitCode === ENGINE_EXIT.layout) return new EngineUnusable(OTHER_LAYOUT);
  return new Error('the engine process ended before it served');
}

/** Kills the child when it stays silent; ends with `resources`. */
function watch(options: {
  clock: Clock;
  log: Log;
  ring: Ring;
  child: Pick<Bun.Subprocess, 'pid' | 'kill'>;
  resources: AsyncDisposableStack;
}): Watchdog {
  const { child, clock, log, resources, ring } = options;
  const ending = new AbortController();
  resources.defer(() => ending.abort());
  const silent = (): void => {
    log.error('the engine process does not answer and is killed', { pid: child.pid });
    child.kill('SIGKILL');
  };
  const isStopped = (): boolean => isStoppedProcess(child.pid);
  return createWatchdog({ clock, ping: () => ring.ping(), isStopped, silent, signal: ending.signal });
}

/** Whether a signal or a debugger has stopped it; false for one that has ended. Source: proc_pid_stat(5). */
function isStoppedProcess(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return /^[Tt] /.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

/** A private directory for the socket: in memory where the disk is full or may not be written. */
async function makeDirectory(resources: AsyncDisposableStack): Promise<string> {
  const reasons: string[] = [];
  for (const parent of [tmpdir(), ...MEMORY_DIRECTORIES]) {
    if (Buffer.byteLength(join(parent, 'edge-XXXXXX', 'engine')) > SOCKET_PATH_BYTES_MAX) {
      reasons.push(`${parent} is too long for the name of a socket`);
      continue;
    }
    try {
      const directory = await mkdtemp(join(parent, 'edge-'));
      resources.defer(() => rm(directory, { recursive: true, force: true }));
      return directory;
    } catch (failure) {
      reasons.push(String(failure));
    }
  }
  throw new Error(`no directory for the socket of the engine: ${reasons.join('; ')}`);
}

function spawnEngine(
  options: EngineProcessOptions & { ring: Ring; socketPath: string; onExit: (code: number | null) => void },
): Bun.Subprocess<'ignore', 'pipe', 'pipe'> {
  const { command, geometry, libraryDir, onExit, ring, socketPath, wall } = options;
  const commandFd = ring.openCommand();
  try {
    return Bun.spawn([...command], {
      cwd: '/',
      env: encodeRoleInput({
        layoutVersion: LAYOUT_VERSION,
        libraryDir,
        socketPath,
        geometry,
        commandFd: COMMAND_FD,
        allowsWeakWalls: wall.allowsWeak,
      }),
      stdio: ['ignore', 'pipe', 'pipe', commandFd],
      onExit: (_, code) => onExit(code),
    });
  } finally {
    ring.closeFd(commandFd);
  }
}
