// Why bytes are refused as a module: a code, a sentence and the place in the module.
import { MODULE_ERRORS, type ModuleErrorCode } from '../../base/errors.ts';

/**
 * `offset` is the byte at fault, `import` or `export` the item. Names are the guest's own text: valid UTF-8
 * of at most `MODULE_BOUNDS.nameBytesMax` bytes, not escaped. `message` is printable ASCII.
 */
export type ModuleFault = {
  code: ModuleErrorCode;
  message: string;
  offset?: number;
  import?: { module: string; name: string };
  export?: string;
};

type ModuleFaultPlace = Pick<ModuleFault, 'offset' | 'import' | 'export'>;

/** The message is the sentence of the error table, followed by `detail`, which is printable ASCII. */
export function moduleFault(
  code: ModuleErrorCode,
  detail?: string,
  place: ModuleFaultPlace = {},
): ModuleFault {
  const sentence = MODULE_ERRORS[code].message;
  return { code, message: detail === undefined ? sentence : `${sentence} ${detail}`, ...place };
}

const QUOTED_LENGTH_MAX = 64;

/** A guest's name for a message: in quotes, shortened, and escaped to printable ASCII. */
export function quoted(name: string): string {
  const cut = name.length > QUOTED_LENGTH_MAX ? `${name.slice(0, QUOTED_LENGTH_MAX)}...` : name;
  const escape = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return `"${cut.replace(/[^\x20-\x7e]|["\\]/g, escape)}"`;
}
