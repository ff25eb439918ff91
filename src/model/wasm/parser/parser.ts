// Decodes a whole module in one pass: its header, the order and sizes of its sections, and their contents.
import { MODULE_BOUNDS } from '../../../base/limits/module.ts';
import { BodyDecoder } from './body.ts';
import { moduleFault, type ModuleFault } from '../fault.ts';
import { createParsedModule, type ModuleLimits, type ParsedModule } from '../module.ts';
import { ModuleReader, ModuleRefusal } from './reader.ts';
import {
  decodeExports,
  decodeFunctions,
  decodeGlobals,
  decodeImports,
  decodeMemories,
  decodeStart,
  decodeTables,
  decodeTypes,
} from './sections.ts';
import { decodeData, decodeElements } from './segments.ts';

type ParseResult = { ok: true; module: ParsedModule } | { ok: false; error: ModuleFault };

const MAGIC: readonly number[] = [0x00, 0x61, 0x73, 0x6d];
const HEADER_BYTES = 8;
const VERSION_1 = '1 0 0 0';
/** The second half of the version word: 0 for core modules, 1 for components. */
const COMPONENT_LAYER = ' 1 0';

const COUNTS_DIFFER = 'The function section and the code section differ.';

const CUSTOM = 0;
const TAG = 13;

type Place = { readonly name: string; readonly order: number };

/**
 * By section id, from "Modules" in the binary format of the WebAssembly Core Specification 2.0. `order` is
 * the place of the section among the others.
 */
const SECTIONS: ReadonlyMap<number, Place> = new Map([
  [1, { name: 'type', order: 1 }],
  [2, { name: 'import', order: 2 }],
  [3, { name: 'function', order: 3 }],
  [4, { name: 'table', order: 4 }],
  [5, { name: 'memory', order: 5 }],
  [6, { name: 'global', order: 6 }],
  [7, { name: 'export', order: 7 }],
  [8, { name: 'start', order: 8 }],
  [9, { name: 'element', order: 9 }],
  [12, { name: 'data_count', order: 10 }],
  [10, { name: 'code', order: 11 }],
  [11, { name: 'data', order: 12 }],
]);

/**
 * Decodes core WebAssembly 1 with mutable globals, saturating conversions, sign extension, multiple values,
 * bulk memory, reference types and SIMD, in time linear in `bytes`. What it accepts is well formed and within
 * `limits`, and its function bodies are type-checked. The result holds views of `bytes`. Never throws.
 */
export function parseModule(
  bytes: Uint8Array,
  options: { limits?: Partial<ModuleLimits> } = {},
): ParseResult {
  const reader = new ModuleReader(bytes);
  try {
    decodeHeader(reader);
    return { ok: true, module: new ModuleDecoder(reader, { ...MODULE_BOUNDS, ...options.limits }).decode() };
  } catch (failure) {
    if (failure instanceof ModuleRefusal) return { ok: false, error: failure.fault };
    throw failure;
  }
}

function decodeHeader(reader: ModuleReader): void {
  const { bytes } = reader;
  if (MAGIC.some((byte, index) => bytes[index] !== byte)) {
    throw new ModuleRefusal(moduleFault('bad_magic', undefined, { offset: 0 }));
  }
  if (bytes.length < HEADER_BYTES) reader.malformed('The bytes end inside the header.', bytes.length);
  reader.position = HEADER_BYTES;
  const word = [...bytes.subarray(4, HEADER_BYTES)].join(' ');
  if (word === VERSION_1) return;
  const code = word.endsWith(COMPONENT_LAYER) ? 'component_not_supported' : 'unsupported_wasm_version';
  throw new ModuleRefusal(moduleFault(code, undefined, { offset: 4 }));
}

class ModuleDecoder {
  readonly #reader: ModuleReader;
  readonly #limits: ModuleLimits;
  readonly #module = createParsedModule();
  #order = 0;
  #customs = 0;
  #bodies = 0;
  #dataCount: number | null = null;

  constructor(reader: ModuleReader, limits: ModuleLimits) {
    this.#reader = reader;
    this.#limits = limits;
  }

  decode(): ParsedModule {
    const reader: ModuleReader = this.#reader;
    while (reader.position < reader.end) this.#decodeSection();
    const { functionTypes, importedFunctions, data } = this.#module;
    if (this.#bodies !== functionTypes.length - importedFunctions) {
      reader.malformed(COUNTS_DIFFER);
    }
    if (this.#dataCount !== null && this.#dataCount !== data.length) {
      reader.malformed('The data count section and the data section differ.');
    }
    return this.#module;
  }

  #decodeSection(): void {
    const reader: ModuleReader = this.#reader;
    const start = reader.position;
    const id = reader.byte();
    const sizeBytes = reader.u32();
    const offset = reader.position;
    if (id === CUSTOM) {
      return reader.within(sizeBytes, 'custom section', () => this.#decodeCustom(offset, sizeBytes));
    }
    if (id === TAG) reader.refuse('unsupported_proposal', 'It has a tag section (exceptions).', start);
    const place = SECTIONS.get(id);
    if (place === undefined) reader.malformed(`There is no section ${id}.`, start);
    const { name, order } = place;
    if (order <= this.#order) reader.malformed(`The ${name} section is repeated or out of order.`, start);
    this.#order = order;
    reader.within(sizeBytes, `${name} section`, () => this.#decodeContents(id));
    this.#module.sections.push({ name, custom: false, offset, sizeBytes });
  }

  #decodeCustom(offset: number, sizeBytes: number): void {
    const reader: ModuleReader = this.#reader;
    const name = reader.name(this.#limits.nameBytesMax);
    this.#customs += 1;
    if (this.#customs > this.#limits.customSectionsMax) {
      const limit = this.#limits.customSectionsMax;
      reader.refuse('too_many_items', `It has more than ${limit} custom sections.`, offset);
    }
    this.#module.sections.push({ name, custom: true, offset, sizeBytes });
    reader.position = reader.end;
  }

  #decodeContents(id: number): void {
    const reader: ModuleReader = this.#reader;
    const module = this.#module;
    const limits = this.#limits;
    switch (id) {
      case 1:
        return decodeTypes(reader, module, limits);
      case 2:
        return decodeImports(reader, module, limits);
      case 3:
        return decodeFunctions(reader, module, limits);
      case 4:
        return decodeTables(reader, module, limits);
      case 5:
        return decodeMemories(reader, module, limits);
      case 6:
        return decodeGlobals(reader, module, limits);
      case 7:
        return decodeExports(reader, module, limits);
      case 8:
        return decodeStart(reader, module);
      case 9:
        return decodeElements(reader, module, limits);
      case 10:
        return this.#decodeCode();
      case 11:
        return decodeData(reader, module, limits, this.#dataCount);
      default:
        this.#dataCount = reader.u32();
    }
  }

  #decodeCode(): void {
    const reader: ModuleReader = this.#reader;
    const module = this.#module;
    const limits = this.#limits;
    const declared = module.functionTypes.length - module.importedFunctions;
    const offset = reader.position;
    this.#bodies = reader.count();
    if (this.#bodies !== declared) reader.malformed(COUNTS_DIFFER, offset);
    const decoder = new BodyDecoder({ reader, module, limits, dataCount: this.#dataCount });
    for (let index = 0; index < declared; index += 1) {
      const typeIndex = module.functionTypes[module.importedFunctions + index] ?? -1;
      this.#decodeBody(decoder, typeIndex);
    }
  }

  #decodeBody(decoder: BodyDecoder, typeIndex: number): void {
    const reader: ModuleReader = this.#reader;
    const limit = this.#limits.functionBytesMax;
    const start = reader.position;
    const sizeBytes = reader.u32();
    const signature = this.#module.types[typeIndex];
    if (signature === undefined) reader.refuse('invalid_wasm', `There is no type ${typeIndex}.`, start);
    reader.within(sizeBytes, 'function body', () => {
      if (sizeBytes > limit) {
        reader.refuse('function_too_large', `It has ${sizeBytes} bytes; the limit is ${limit}.`, start);
      }
      decoder.decode(signature);
    });
  }
}
