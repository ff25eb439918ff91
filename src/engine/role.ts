// The engine role: the same executable again, which loads libwasmedge and stays in one C call until the edge
// is gone.
import { dlopen } from 'bun:ffi';
import { writeSync } from 'node:fs';
import type { EngineRoleInput } from './role_input.ts';
import { ENGINE_SYMBOLS } from './symbols.ts';

const STDOUT = 1;

/**
 * Says the version of libwasmedge as one line on stdout, then serves as the zygote; returns the exit code of
 * the process. It must be called before anything that starts a thread: whoever forks must be alone.
 */
export function runEngineRole(input: EngineRoleInput): number {
  const { symbols } = dlopen(`${input.libraryDir}/libedge_engine.so`, ENGINE_SYMBOLS);
  writeSync(STDOUT, `${String(symbols.edge_engine_wasmedge_version())}\n`);
  const { slots, requestHeadBytes, requestBodyBytes, responseHeadBytes, responseBodyBytes, logBytes } =
    input.geometry;
  const socketPath = new Uint8Array(new ArrayBuffer(4_096));
  new TextEncoder().encodeInto(input.socketPath, socketPath);
  const status = symbols.edge_engine_serve(
    input.memfd,
    input.commandFd,
    socketPath,
    slots,
    requestHeadBytes,
    requestBodyBytes,
    responseHeadBytes,
    responseBodyBytes,
    logBytes,
  );
  return status === 0 ? 0 : 1;
}
