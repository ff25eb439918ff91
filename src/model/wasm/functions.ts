// Counts the types and functions of a module that was accepted.
import { ModuleReader } from './parser/reader.ts';
import { countFunctionImports } from './parser/walk.ts';

const HEADER_BYTES = 8;
const TYPES = 1;
const IMPORTS = 2;
const FUNCTIONS = 3;

export type FunctionCounts = { types: number; imported: number; defined: number };

/** The functions that `bytes` import come first among the indices. Throws for malformed bytes. */
export function countFunctions(bytes: Uint8Array): FunctionCounts {
  const reader = new ModuleReader(bytes);
  const counts: FunctionCounts = { types: 0, imported: 0, defined: 0 };
  reader.skip(HEADER_BYTES);
  while (reader.position < reader.end) {
    const id = reader.byte();
    const size = reader.u32();
    const contents = reader.position;
    if (id === TYPES) counts.types = reader.u32();
    if (id === IMPORTS) counts.imported = countFunctionImports(reader);
    if (id === FUNCTIONS) counts.defined = reader.u32();
    reader.position = contents;
    reader.skip(size);
  }
  return counts;
}
