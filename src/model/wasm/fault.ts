// Why bytes are refused as a module: the value that callers get, and how the decoder leaves with it.
import { MODULE_ERRORS, type ModuleErrorCode } from '../../base/errors.ts';

/**
 * `offset` is the byte at fault, `import` and `export` the item at fault. Both carry the guest's own text:
 * valid UTF-8 of at most `MODULE_BOUNDS.nameBytesMax` bytes, not cleaned. `message` is printable ASCII.
 */
export type ModuleFault = {
  code: ModuleErrorCode;
  message: string;
  offset?: number;
  import?: { module: string; name: string };
  export?: string;
};

type ModuleFaultPlace = Pick<ModuleFault, 'offset' | 'import' | 'export'>;

export function moduleFault(
  code: ModuleErrorCode,
  detail?: string,
  place: ModuleFaultPlace = {},
): ModuleFault {
  const sentence = MODULE_ERRORS[code].message;
  return { code, message: detail === undefined ? sentence : `${sentence} ${detail}`, ...place };
}

const QUOTED_LENGTH_MAX = 64;

/** A guest's name for use in a sentence: quoted, cut, printable ASCII only. */
export function quoted(name: string): string {
  const cut = name.length > QUOTED_LENGTH_MAX ? `${name.slice(0, QUOTED_LENGTH_MAX)}...` : name;
  const escape = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return `"${cut.replace(/[^\x20-\x7e]|["\\]/g, escape)}"`;
}
