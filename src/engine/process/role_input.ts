// What the edge hands to the engine process at its start, as environment variables and back; pure.
import { GEOMETRY_NAMES, type RingGeometry } from '../ring/geometry.ts';

/**
 * `layoutVersion` is the edge's: the engine process refuses another than its own. `commandFd` is an inherited
 * descriptor; `socketPath` is the edge's private unix socket.
 */
export type EngineRoleInput = {
  layoutVersion: number;
  libraryDir: string;
  socketPath: string;
  geometry: RingGeometry;
  commandFd: number;
  /** Serves also where a necessary part of the wall is missing. */
  allowsWeakWalls: boolean;
};

/** The value of the variable EDGE_ROLE that selects the engine role. */
export const ENGINE_ROLE = 'engine';

/**
 * Exit codes of the engine process. After `layout` no other can serve either: libedge_engine.so was built with
 * another layout of the ring than this program.
 */
export const ENGINE_EXIT = { served: 0, failed: 1, layout: 3 } as const;

/** Each of these keeps Bun from starting a thread: a process that forks must have only one. */
const ONE_THREAD = {
  BUN_FEATURE_FLAG_DISABLE_ASYNC_TRANSPILER: '1',
  BUN_JSC_useConcurrentGC: '0',
  BUN_JSC_useConcurrentJIT: '0',
  BUN_JSC_useWarmUpMarkedBlocks: '0',
};

/** The whole environment of the engine process: its role, its input, and what keeps it to one thread. */
export function encodeRoleInput(input: EngineRoleInput): { [name: string]: string } {
  return {
    EDGE_ROLE: ENGINE_ROLE,
    EDGE_ENGINE: JSON.stringify(input),
    ...ONE_THREAD,
  };
}

/** Reads the value of EDGE_ENGINE; throws when it is not what `encodeRoleInput` wrote. */
export function decodeRoleInput(text: string): EngineRoleInput {
  const value: unknown = JSON.parse(text);
  const { layoutVersion, libraryDir, socketPath, geometry, commandFd, allowsWeakWalls } = record(
    value,
    'the engine input',
  );
  const sizes = record(geometry, 'the geometry');
  for (const name of GEOMETRY_NAMES) natural(sizes[name], name);
  return {
    layoutVersion: natural(layoutVersion, 'layoutVersion'),
    libraryDir: path(libraryDir, 'libraryDir'),
    socketPath: path(socketPath, 'socketPath'),
    geometry: Object.fromEntries(GEOMETRY_NAMES.map((name) => [name, sizes[name]])) as RingGeometry,
    commandFd: natural(commandFd, 'commandFd'),
    allowsWeakWalls: allowsWeakWalls === true,
  };
}

function record(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw new Error(`${name} is not an object`);
  return value as Record<string, unknown>;
}

function natural(value: unknown, name: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 2 ** 31) return value;
  throw new Error(`${name} is not a positive whole number`);
}

function path(value: unknown, name: string): string {
  if (typeof value === 'string' && value.startsWith('/') && !value.includes('\0')) return value;
  throw new Error(`${name} is not an absolute path`);
}
