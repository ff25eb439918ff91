// The engine role of the executable: loads libwasmedge and stays in one C call until the edge is gone.
import { dlopen, type Library } from 'bun:ffi';
import { writeSync } from 'node:fs';
import { ENGINE_EXIT, type EngineRoleInput } from './role_input.ts';
import { ENGINE_SYMBOLS } from './symbols.ts';

const STDOUT = 1;
const STDERR = 2;
/** What `edge_engine_serve` returns for another layout of the ring: -EPROTO. */
const OTHER_LAYOUT = -71;

/**
 * Writes the version of libwasmedge as one line to stdout and serves as the zygote. Returns the exit code of
 * the process (`ENGINE_EXIT`), with the reason as one line on stderr when it cannot serve. Must be called before anything
 * that starts a thread, because `fork` would copy the locks of that thread.
 */
export function runEngineRole(input: EngineRoleInput): number {
  const library = openLibrary(`${input.libraryDir}/libedge_engine.so`);
  if (library === null) return ENGINE_EXIT.failed;
  const { symbols } = library;
  writeSync(STDOUT, `${String(symbols.edge_engine_wasmedge_version())}\n`);
  const { slots, requestHeadBytes, requestBodyBytes, responseHeadBytes, responseBodyBytes, logBytes } =
    input.geometry;
  const socketPath = new Uint8Array(new ArrayBuffer(4_096));
  new TextEncoder().encodeInto(input.socketPath, socketPath);
  const status = symbols.edge_engine_serve(
    input.layoutVersion,
    input.commandFd,
    socketPath,
    slots,
    requestHeadBytes,
    requestBodyBytes,
    responseHeadBytes,
    responseBodyBytes,
    logBytes,
    input.allowsWeakWalls ? 1 : 0,
  );
  if (status === 0) return ENGINE_EXIT.served;
  return status === OTHER_LAYOUT ? ENGINE_EXIT.layout : ENGINE_EXIT.failed;
}

/** The library, or null, with the reason as one line on stderr, when it does not load. */
function openLibrary(path: string): Library<typeof ENGINE_SYMBOLS> | null {
  try {
    return dlopen(path, ENGINE_SYMBOLS);
  } catch (failure) {
    writeSync(STDERR, `${failure instanceof Error ? failure.message : String(failure)}\n`);
    return null;
  }
}
