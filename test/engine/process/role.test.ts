// The engine role of the built executable, where it cannot serve.
import { describe, expect, test } from 'bun:test';
import { join, resolve } from 'node:path';
import { GEOMETRY_NAMES, LAYOUT_VERSION, type RingGeometry } from '../../../src/engine/ring/geometry.ts';
import {
  ENGINE_EXIT,
  encodeRoleInput,
  type EngineRoleInput,
} from '../../../src/engine/process/role_input.ts';
import { libraryDir } from '../harness.ts';

const executable = resolve(import.meta.dir, '../../../dist/edge');

const input: EngineRoleInput = {
  layoutVersion: LAYOUT_VERSION,
  libraryDir: libraryDir(),
  socketPath: join('/nonexistent', 'socket'),
  geometry: Object.fromEntries(GEOMETRY_NAMES.map((name) => [name, 4_096])) as RingGeometry,
  commandFd: 4,
  allowsWeakWalls: false,
};

describe('An engine that cannot serve', () => {
  test.each<[reason: string, exit: number, input: EngineRoleInput, said: string]>([
    [
      'its library does not load',
      ENGINE_EXIT.failed,
      { ...input, libraryDir: '/nonexistent' },
      '/nonexistent/libedge_engine.so',
    ],
    [
      'the edge has another layout of the ring',
      ENGINE_EXIT.layout,
      { ...input, layoutVersion: LAYOUT_VERSION + 1 },
      `the edge has ring layout ${LAYOUT_VERSION + 1}, libedge_engine.so has ${LAYOUT_VERSION}; rebuild both`,
    ],
    [
      'the sizes of the ring do not fit',
      ENGINE_EXIT.failed,
      { ...input, geometry: { ...input.geometry, slots: 1 } },
      'the sizes of the ring: Invalid argument',
    ],
    [
      'the socket of the edge is not there',
      ENGINE_EXIT.failed,
      input,
      'its descriptors and sockets: No such file or directory',
    ],
  ])('says why in one line and ends with its exit code: %s, %i', async (_, exit, given, said) => {
    const env = encodeRoleInput(given);
    const child = Bun.spawn([executable], { env, stdout: 'pipe', stderr: 'pipe' });
    const [text, exitCode] = [await new Response(child.stderr).text(), await child.exited];
    expect(exitCode).toBe(exit);
    expect(text.trim().split('\n')).toHaveLength(1);
    expect(text).toContain(said);
  });
});
