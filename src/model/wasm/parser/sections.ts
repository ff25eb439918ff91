// Decodes the contents of every section but code, element and data into a `ParsedModule`.
import { decodeConstant } from './constants.ts';
import type { ItemKind, ModuleGlobal, ModuleLimits, ParsedModule } from '../module.ts';
import type { ModuleReader } from './reader.ts';
import { decodeMemoryType, decodeSignature, decodeTableType, decodeValueType } from './values.ts';

const KINDS: readonly ItemKind[] = ['function', 'table', 'memory', 'global'];

function decodeKind(reader: ModuleReader): ItemKind {
  const offset = reader.position;
  const byte = reader.byte();
  if (byte === 4) reader.refuse('unsupported_proposal', 'It imports or exports a tag (exceptions).', offset);
  return KINDS[byte] ?? reader.malformed('The kind of an import or export is unknown.', offset);
}

function decodeTypeIndex(reader: ModuleReader, module: ParsedModule): number {
  const offset = reader.position;
  const typeIndex = reader.u32();
  if (typeIndex >= module.types.length) {
    reader.refuse('invalid_wasm', `There is no type ${typeIndex}.`, offset);
  }
  return typeIndex;
}

function decodeGlobalType(reader: ModuleReader): ModuleGlobal {
  const type = decodeValueType(reader);
  const offset = reader.position;
  const mutability = reader.byte();
  if (mutability > 1) reader.malformed('The mutability of a global is unknown.', offset);
  return { type, mutable: mutability === 1 };
}

function checkSpaces(reader: ModuleReader, module: ParsedModule, limits: ModuleLimits, offset: number): void {
  if (module.memories.length > 1) {
    reader.refuse('unsupported_proposal', 'It has more than one memory (multi-memory).', offset);
  }
  if (module.tables.length > limits.tablesMax) {
    reader.refuse('too_many_tables', `The limit is ${limits.tablesMax}.`, offset);
  }
}

export function decodeTypes(reader: ModuleReader, module: ParsedModule, limits: ModuleLimits): void {
  const count = reader.count({ max: limits.typesMax, code: 'too_many_items', what: 'types' });
  for (let index = 0; index < count; index += 1) module.types.push(decodeSignature(reader, limits));
}

export function decodeImports(reader: ModuleReader, module: ParsedModule, limits: ModuleLimits): void {
  const count = reader.count({ max: limits.importsMax, code: 'too_many_items', what: 'imports' });
  for (let index = 0; index < count; index += 1) {
    const offset = reader.position;
    const from = reader.name(limits.nameBytesMax);
    const name = reader.name(limits.nameBytesMax);
    const kind = decodeKind(reader);
    const typeIndex = kind === 'function' ? decodeTypeIndex(reader, module) : -1;
    if (kind === 'function') module.functionTypes.push(typeIndex);
    else if (kind === 'table') module.tables.push(decodeTableType(reader));
    else if (kind === 'memory') module.memories.push(decodeMemoryType(reader));
    else module.globals.push(decodeGlobalType(reader));
    module.imports.push({ module: from, name, kind, typeIndex, offset });
    checkSpaces(reader, module, limits, offset);
  }
  module.importedFunctions = module.functionTypes.length;
  module.importedGlobals = module.globals.length;
}

export function decodeFunctions(reader: ModuleReader, module: ParsedModule, limits: ModuleLimits): void {
  const count = reader.count({ max: limits.functionsMax, code: 'too_many_functions', what: 'functions' });
  for (let index = 0; index < count; index += 1) module.functionTypes.push(decodeTypeIndex(reader, module));
}

export function decodeTables(reader: ModuleReader, module: ParsedModule, limits: ModuleLimits): void {
  const count = reader.count();
  for (let index = 0; index < count; index += 1) {
    const offset = reader.position;
    module.tables.push(decodeTableType(reader));
    checkSpaces(reader, module, limits, offset);
  }
}

export function decodeMemories(reader: ModuleReader, module: ParsedModule, limits: ModuleLimits): void {
  const count = reader.count();
  for (let index = 0; index < count; index += 1) {
    const offset = reader.position;
    module.memories.push(decodeMemoryType(reader));
    checkSpaces(reader, module, limits, offset);
  }
}

export function decodeGlobals(reader: ModuleReader, module: ParsedModule, limits: ModuleLimits): void {
  const count = reader.count({ max: limits.globalsMax, code: 'too_many_items', what: 'globals' });
  for (let index = 0; index < count; index += 1) {
    const global = decodeGlobalType(reader);
    decodeConstant(reader, module);
    module.globals.push(global);
  }
}

export function decodeExports(reader: ModuleReader, module: ParsedModule, limits: ModuleLimits): void {
  const count = reader.count({ max: limits.exportsMax, code: 'too_many_items', what: 'exports' });
  const names = new Set<string>();
  for (let position = 0; position < count; position += 1) {
    const offset = reader.position;
    const name = reader.name(limits.nameBytesMax);
    if (names.has(name)) reader.refuse('invalid_wasm', 'Two exports have the same name.', offset);
    names.add(name);
    const kind = decodeKind(reader);
    const index = reader.u32();
    if (index >= spaceOf(module, kind)) {
      reader.refuse('invalid_wasm', `There is no ${kind} ${index}.`, offset);
    }
    module.exports.push({ name, kind, index, offset });
  }
}

function spaceOf(module: ParsedModule, kind: ItemKind): number {
  if (kind === 'function') return module.functionTypes.length;
  if (kind === 'table') return module.tables.length;
  return kind === 'memory' ? module.memories.length : module.globals.length;
}

export function decodeStart(reader: ModuleReader, module: ParsedModule): void {
  module.startFunction = reader.u32();
}
