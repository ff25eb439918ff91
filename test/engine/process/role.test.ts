// The engine role of the built executable, where it cannot serve.
import { describe, expect, test } from 'bun:test';
import { join, resolve } from 'node:path';
import { GEOMETRY_NAMES, type RingGeometry } from '../../../src/engine/ring/geometry.ts';
import { encodeRoleInput } from '../../../src/engine/process/role_input.ts';

const executable = resolve(import.meta.dir, '../../../dist/edge');

describe('An engine whose library does not load', () => {
  test('ends with 1 and says why in one line', async () => {
    const geometry = Object.fromEntries(GEOMETRY_NAMES.map((name) => [name, 4_096])) as RingGeometry;
    const paths = { libraryDir: '/nonexistent', socketPath: join('/nonexistent', 'socket') };
    const env = encodeRoleInput({ ...paths, geometry, memfd: 3, commandFd: 4 });
    const child = Bun.spawn([executable], { env, stdout: 'pipe', stderr: 'pipe' });
    const [said, exitCode] = [await new Response(child.stderr).text(), await child.exited];
    expect(exitCode).toBe(1);
    expect(said.trim().split('\n')).toHaveLength(1);
    expect(said).toContain('/nonexistent/libedge_engine.so');
  });
});
