// The input of the engine role survives the environment, and any other text is refused.
import { describe, expect, test } from 'bun:test';
import { geometryOf, WORKER_SLOTS } from '../../../src/engine/ring/geometry.ts';
import {
  decodeRoleInput,
  encodeRoleInput,
  ENGINE_ROLE,
  type EngineRoleInput,
} from '../../../src/engine/process/role_input.ts';

const input: EngineRoleInput = {
  layoutVersion: 7,
  libraryDir: '/opt/edge',
  socketPath: '/tmp/edge-a/engine',
  geometry: geometryOf({ workers: 4, requestBytesMax: 1_000_000, responseBytesMax: 5 }),
  commandFd: 4,
  allowsWeakWalls: true,
};

describe('The input of the engine role', () => {
  test('comes back as it was written', () => {
    const environment = encodeRoleInput(input);
    expect(environment['EDGE_ROLE']).toBe(ENGINE_ROLE);
    expect(decodeRoleInput(environment['EDGE_ENGINE'] ?? '')).toEqual(input);
  });

  test('is the whole environment, with one thread asked for', () => {
    expect(Object.keys(encodeRoleInput(input)).sort()).toEqual([
      'BUN_FEATURE_FLAG_DISABLE_ASYNC_TRANSPILER',
      'BUN_JSC_useConcurrentGC',
      'BUN_JSC_useConcurrentJIT',
      'BUN_JSC_useWarmUpMarkedBlocks',
      'EDGE_ENGINE',
      'EDGE_ROLE',
    ]);
  });

  test.each([
    ['null', null],
    ['a relative library directory', { ...input, libraryDir: 'lib' }],
    ['a NUL in the socket path', { ...input, socketPath: '/tmp/a\0b' }],
    ['no layout version', { ...input, layoutVersion: undefined }],
    ['no geometry', { ...input, geometry: undefined }],
    ['a negative size', { ...input, geometry: { ...input.geometry, logBytes: -1 } }],
    ['a fraction of a slot', { ...input, geometry: { ...input.geometry, slots: 1.5 } }],
    ['a descriptor as text', { ...input, commandFd: '3' }],
  ])('is refused with %s', (_, value) => {
    expect(() => decodeRoleInput(JSON.stringify(value))).toThrow(/is not/);
  });
});

describe('The geometry of a ring', () => {
  test('has whole pages, and room for the largest start block in the request head', () => {
    const { slots, ...parts } = geometryOf({ workers: 2, requestBytesMax: 1, responseBytesMax: 4_097 });
    expect(slots).toBe(2 * WORKER_SLOTS);
    for (const bytes of Object.values(parts)) expect(bytes % 4_096).toBe(0);
    expect(parts).toMatchObject({ requestBodyBytes: 4_096, responseBodyBytes: 8_192 });
    expect(parts.requestHeadBytes).toBeGreaterThan(48 * 1_024);
  });
});
