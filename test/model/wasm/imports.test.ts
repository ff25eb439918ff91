// A module may import functions of `env` and of WASI preview 1 with their signatures, and nothing else.
import { describe, expect, test } from 'bun:test';
import { checkModule } from '../../../src/model/wasm/check.ts';
import type { ModuleFault } from '../../../src/model/wasm/fault.ts';
import {
  EXTERNREF,
  HANDLE_TYPE,
  I32,
  I64,
  body,
  exported,
  imported,
  moduleOf,
  signature,
  vector,
} from './builder.ts';

const typesOf = (letters: string): number[] => Array.from(letters, (letter) => (letter === 'I' ? I64 : I32));

/** An acceptable module but for the one item that it imports. */
function importing(
  module: string,
  name: string,
  description: number[],
  type = signature([], []),
): Uint8Array {
  const first = description[0] === 0 ? 1 : 0;
  return moduleOf({
    type: vector([HANDLE_TYPE, type]),
    import: vector([imported(module, name, description)]),
    export: vector([exported('memory', 2, 0), exported('handle', 0, first)]),
    code: vector([body([0x00])]),
  });
}

const importingFunction = (module: string, name: string, params: string, results: string): Uint8Array =>
  importing(module, name, [0, 1], signature(typesOf(params), typesOf(results)));

function faultOf(bytes: Uint8Array): ModuleFault | undefined {
  const typeCheck = (checked: Uint8Array): boolean => WebAssembly.validate(Uint8Array.from(checked));
  const result = checkModule(bytes, { memoryPages: 16, entrypoint: 'handle', typeCheck });
  return result.ok ? undefined : result.error;
}

const ENV: [name: string, params: string, results: string][] = [
  ['log', 'iii', 'i'],
  ['request_id', 'ii', 'i'],
  ['request_header', 'iiii', 'i'],
  ['request_method', 'ii', 'i'],
  ['request_path', 'ii', 'i'],
  ['env_get', 'iiii', 'i'],
  ['response_status', 'i', 'i'],
  ['response_header', 'iiii', 'i'],
  ['response_write', 'ii', 'i'],
  ['abort', 'iiii', ''],
];

const WASI: [name: string, params: string, results: string][] = [
  ['args_get', 'ii', 'i'],
  ['args_sizes_get', 'ii', 'i'],
  ['environ_get', 'ii', 'i'],
  ['environ_sizes_get', 'ii', 'i'],
  ['clock_res_get', 'ii', 'i'],
  ['clock_time_get', 'iIi', 'i'],
  ['fd_advise', 'iIIi', 'i'],
  ['fd_allocate', 'iII', 'i'],
  ['fd_close', 'i', 'i'],
  ['fd_datasync', 'i', 'i'],
  ['fd_fdstat_get', 'ii', 'i'],
  ['fd_fdstat_set_flags', 'ii', 'i'],
  ['fd_fdstat_set_rights', 'iII', 'i'],
  ['fd_filestat_get', 'ii', 'i'],
  ['fd_filestat_set_size', 'iI', 'i'],
  ['fd_filestat_set_times', 'iIIi', 'i'],
  ['fd_pread', 'iiiIi', 'i'],
  ['fd_prestat_get', 'ii', 'i'],
  ['fd_prestat_dir_name', 'iii', 'i'],
  ['fd_pwrite', 'iiiIi', 'i'],
  ['fd_read', 'iiii', 'i'],
  ['fd_readdir', 'iiiIi', 'i'],
  ['fd_renumber', 'ii', 'i'],
  ['fd_seek', 'iIii', 'i'],
  ['fd_sync', 'i', 'i'],
  ['fd_tell', 'ii', 'i'],
  ['fd_write', 'iiii', 'i'],
  ['path_create_directory', 'iii', 'i'],
  ['path_filestat_get', 'iiiii', 'i'],
  ['path_filestat_set_times', 'iiiiIIi', 'i'],
  ['path_link', 'iiiiiii', 'i'],
  ['path_open', 'iiiiiIIii', 'i'],
  ['path_readlink', 'iiiiii', 'i'],
  ['path_remove_directory', 'iii', 'i'],
  ['path_rename', 'iiiiii', 'i'],
  ['path_symlink', 'iiiii', 'i'],
  ['path_unlink_file', 'iii', 'i'],
  ['poll_oneoff', 'iiii', 'i'],
  ['proc_exit', 'i', ''],
  ['proc_raise', 'i', 'i'],
  ['random_get', 'ii', 'i'],
  ['sched_yield', '', 'i'],
  ['sock_accept', 'iii', 'i'],
  ['sock_recv', 'iiiiii', 'i'],
  ['sock_send', 'iiiii', 'i'],
  ['sock_shutdown', 'ii', 'i'],
];

const OFFERED = [
  ...ENV.map(([name, params, results]) => ['env', name, params, results] as const),
  ...WASI.map(([name, params, results]) => ['wasi_snapshot_preview1', name, params, results] as const),
];

describe('An import that is offered', () => {
  test.each(OFFERED)(
    '%s %s (%s) -> (%s) is admitted, and with another signature refused',
    (module, name, params, results) => {
      expect(faultOf(importingFunction(module, name, params, results))).toBeUndefined();
      const others = [
        [`${params}i`, results],
        [params, results === '' ? 'i' : ''],
        [`I${params.slice(1)}`, results],
      ];
      for (const [otherParams = '', otherResults = ''] of others) {
        if (otherParams === params && otherResults === results) continue;
        expect(faultOf(importingFunction(module, name, otherParams, otherResults))).toMatchObject({
          code: 'forbidden_import',
          import: { module, name },
        });
      }
    },
  );

  test('is refused with the right signature in the message if its own is wrong', () => {
    const message = faultOf(importingFunction('wasi_snapshot_preview1', 'fd_seek', 'iiii', 'i'))?.message;
    expect(message).toContain('must be (i32, i64, i32, i32) -> (i32)');
    expect(message).toContain('here it is (i32, i32, i32, i32) -> (i32)');
  });
});

describe('An import that is not offered', () => {
  test.each([
    ['wasi_snapshot_preview1', 'sock_open'],
    ['wasi_snapshot_preview1', 'sock_connect'],
    ['wasi_snapshot_preview1', 'sock_bind'],
    ['wasi_snapshot_preview1', 'thread-spawn'],
    ['wasi_snapshot_preview1', ''],
    ['wasi_unstable', 'fd_write'],
    ['wasi', 'thread-spawn'],
    ['wasi_ephemeral_nn', 'load'],
    ['wasi_logging', 'log'],
    ['env', 'fd_write'],
    ['env', 'kv_get'],
    ['env', 'toString'],
    ['env', '__proto__'],
    ['__proto__', 'log'],
    ['constructor', 'name'],
    ['Env', 'log'],
    ['env ', 'log'],
    ['', ''],
  ])('%p %p is refused by name and place', (module, name) => {
    const fault = faultOf(importingFunction(module, name, 'iii', 'i'));
    expect(fault).toMatchObject({
      code: 'forbidden_import',
      import: { module, name },
      offset: expect.any(Number),
    });
  });

  test.each([
    ['memory', [2, 0, 1]],
    ['table', [1, EXTERNREF, 0, 1]],
    ['global', [3, I32, 0]],
  ])('a %s is refused, even under an offered name', (kind, description) => {
    const fault = faultOf(importing('env', 'log', description));
    if (kind !== 'memory') expect(fault?.message).toContain(`is a ${kind}; only functions`);
    expect(fault?.code).toBe(kind === 'memory' ? 'unsupported_proposal' : 'forbidden_import');
  });

  test('an imported memory in place of an own one is refused', () => {
    const bytes = moduleOf({ import: vector([imported('env', 'memory', [2, 0, 1])]), memory: null });
    expect(faultOf(bytes)).toMatchObject({
      code: 'forbidden_import',
      import: { module: 'env', name: 'memory' },
    });
  });

  test('has its hostile name shortened and escaped in the message, and in full in its field', () => {
    const name = `\u001b[2J\u202e"${'x'.repeat(200)}`;
    const fault = faultOf(importingFunction('env', name, '', ''));
    expect(fault?.import?.name).toBe(name);
    expect(fault?.message).toMatch(/^[\x20-\x7e]{1,250}$/);
    expect(fault?.message).toContain('\\u001b[2J\\u202e\\u0022xxx');
  });
});
