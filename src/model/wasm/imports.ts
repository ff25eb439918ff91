// Checks imports: a module may import functions of `env` and of WASI preview 1, each with its signature.
import { moduleFault, quoted, type ModuleFault } from './fault.ts';
import type { ModuleImport, ParsedModule } from './module.ts';
import { sameSignature, signatureOf, signatureText } from './signature.ts';

const ENV = 'env';
const WASI = 'wasi_snapshot_preview1';

/**
 * What is offered, with signatures in the short form of `signatureOf`. AssemblyScript calls `abort` before it
 * traps. The functions of WASI are those of wasi_snapshot_preview1 in the WASI legacy documents.
 */
const OFFERED: Readonly<Record<string, ReadonlyMap<string, string>>> = {
  [ENV]: new Map([
    ['log', 'iii:i'],
    ['request_id', 'ii:i'],
    ['request_header', 'iiii:i'],
    ['request_method', 'ii:i'],
    ['request_path', 'ii:i'],
    ['env_get', 'iiii:i'],
    ['response_status', 'i:i'],
    ['response_header', 'iiii:i'],
    ['response_write', 'ii:i'],
    ['abort', 'iiii:'],
  ]),
  [WASI]: new Map([
    ['args_get', 'ii:i'],
    ['args_sizes_get', 'ii:i'],
    ['environ_get', 'ii:i'],
    ['environ_sizes_get', 'ii:i'],
    ['clock_res_get', 'ii:i'],
    ['clock_time_get', 'iIi:i'],
    ['fd_advise', 'iIIi:i'],
    ['fd_allocate', 'iII:i'],
    ['fd_close', 'i:i'],
    ['fd_datasync', 'i:i'],
    ['fd_fdstat_get', 'ii:i'],
    ['fd_fdstat_set_flags', 'ii:i'],
    ['fd_fdstat_set_rights', 'iII:i'],
    ['fd_filestat_get', 'ii:i'],
    ['fd_filestat_set_size', 'iI:i'],
    ['fd_filestat_set_times', 'iIIi:i'],
    ['fd_pread', 'iiiIi:i'],
    ['fd_prestat_get', 'ii:i'],
    ['fd_prestat_dir_name', 'iii:i'],
    ['fd_pwrite', 'iiiIi:i'],
    ['fd_read', 'iiii:i'],
    ['fd_readdir', 'iiiIi:i'],
    ['fd_renumber', 'ii:i'],
    ['fd_seek', 'iIii:i'],
    ['fd_sync', 'i:i'],
    ['fd_tell', 'ii:i'],
    ['fd_write', 'iiii:i'],
    ['path_create_directory', 'iii:i'],
    ['path_filestat_get', 'iiiii:i'],
    ['path_filestat_set_times', 'iiiiIIi:i'],
    ['path_link', 'iiiiiii:i'],
    ['path_open', 'iiiiiIIii:i'],
    ['path_readlink', 'iiiiii:i'],
    ['path_remove_directory', 'iii:i'],
    ['path_rename', 'iiiiii:i'],
    ['path_symlink', 'iiiii:i'],
    ['path_unlink_file', 'iii:i'],
    ['poll_oneoff', 'iiii:i'],
    ['proc_exit', 'i:'],
    ['proc_raise', 'i:i'],
    ['random_get', 'ii:i'],
    ['sched_yield', ':i'],
    ['sock_accept', 'iii:i'],
    ['sock_recv', 'iiiiii:i'],
    ['sock_send', 'iiiii:i'],
    ['sock_shutdown', 'ii:i'],
  ]),
};

/** The first import that is not offered, or not with this signature. */
export function importFault(module: ParsedModule): ModuleFault | undefined {
  for (const item of module.imports) {
    const detail = refusalOf(item, module);
    if (detail === undefined) continue;
    const { offset, name } = item;
    return moduleFault('forbidden_import', detail, { offset, import: { module: item.module, name } });
  }
  return undefined;
}

function refusalOf(item: ModuleImport, module: ParsedModule): string | undefined {
  const shown = `${quoted(item.module)} ${quoted(item.name)}`;
  if (item.kind !== 'function') return `${shown} is a ${item.kind}; only functions can be imported.`;
  const offered = Object.hasOwn(OFFERED, item.module) ? OFFERED[item.module] : undefined;
  if (offered === undefined) return `${shown} is from an unknown module; ${ENV} and ${WASI} are offered.`;
  const short = offered.get(item.name);
  if (short === undefined) return `${shown} is not offered.`;
  const expected = signatureOf(short);
  const found = module.types[item.typeIndex];
  if (found !== undefined && sameSignature(expected, found)) return undefined;
  const text = found === undefined ? 'no type' : signatureText(found);
  return `${shown} must be ${signatureText(expected)}; here it is ${text}.`;
}
