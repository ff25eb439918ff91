// Decodes and type-checks the instructions that name a local, global, table, segment or memory.
import { ANY, type BlockStack } from './blocks.ts';
import type { Immediates } from './instructions.ts';
import type { ModuleGlobal, ParsedModule } from '../module.ts';
import type { ModuleReader } from './reader.ts';
import { FUNCREF, I32, isReferenceType } from '../signature.ts';
import { decodeHeapType } from './values.ts';

/** `dataCount` is what the data count section says, or null without one. */
type ItemContext = {
  readonly reader: ModuleReader;
  readonly module: ParsedModule;
  readonly blocks: BlockStack;
  readonly dataCount: number | null;
};

export class ItemDecoder {
  readonly #reader: ModuleReader;
  readonly #module: ParsedModule;
  readonly #blocks: BlockStack;
  readonly #dataCount: number | null;
  #locals: Uint8Array = new Uint8Array(0);

  constructor(context: ItemContext) {
    this.#reader = context.reader;
    this.#module = context.module;
    this.#blocks = context.blocks;
    this.#dataCount = context.dataCount;
  }

  /** `locals` are the types of the parameters and locals of the next function to decode. */
  enter(locals: Uint8Array): void {
    this.#locals = locals;
  }

  /** Decodes the immediates and applies the operands that depend on them; false if it names no such item. */
  decode(immediates: Immediates): boolean {
    return this.#variable(immediates) || this.#table(immediates) || this.#memory(immediates);
  }

  #variable(immediates: Immediates): boolean {
    const blocks = this.#blocks;
    switch (immediates) {
      case 'local_get':
        blocks.push(this.#local());
        return true;
      case 'local_set':
        blocks.pop(this.#local());
        return true;
      case 'local_tee': {
        const type = this.#local();
        blocks.pop(type);
        blocks.push(type);
        return true;
      }
      case 'global_get':
        blocks.push(this.#global().type);
        return true;
      case 'global_set': {
        const { type, mutable } = this.#global();
        if (!mutable) this.#reader.refuse('invalid_wasm', 'An instruction sets a global that is constant.');
        blocks.pop(type);
        return true;
      }
      case 'ref_null':
        blocks.push(decodeHeapType(this.#reader));
        return true;
      case 'ref_is_null': {
        const type = blocks.popAny();
        if (type !== ANY && !isReferenceType(type))
          this.#reader.refuse('invalid_wasm', 'The operand of ref.is_null is no reference.');
        blocks.push(I32);
        return true;
      }
      case 'ref_func':
        this.#index('function', this.#module.functionTypes.length);
        blocks.push(FUNCREF);
        return true;
      default:
        return false;
    }
  }

  #table(immediates: Immediates): boolean {
    const blocks = this.#blocks;
    switch (immediates) {
      case 'table_get': {
        const type = this.#tableType();
        blocks.pop(I32);
        blocks.push(type);
        return true;
      }
      case 'table_set':
        return this.#mutates(() => {
          blocks.pop(this.#tableType());
          blocks.pop(I32);
        });
      case 'table_size':
        this.#tableType();
        blocks.push(I32);
        return true;
      case 'table_grow':
        return this.#mutates(() => {
          const type = this.#tableType();
          blocks.pop(I32);
          blocks.pop(type);
          blocks.push(I32);
        });
      case 'table_fill':
        return this.#mutates(() => {
          const type = this.#tableType();
          blocks.pop(I32);
          blocks.pop(type);
          blocks.pop(I32);
        });
      case 'table_init':
        return this.#mutates(() => this.#same(this.#elementType(), this.#tableType()));
      case 'table_copy':
        return this.#mutates(() => this.#same(this.#tableType(), this.#tableType()));
      case 'elem_drop':
        return this.#mutates(() => void this.#elementType());
      default:
        return false;
    }
  }

  #memory(immediates: Immediates): boolean {
    const reader = this.#reader;
    switch (immediates) {
      case 'memory':
        this.#memoryIndex();
        return true;
      case 'memory_access':
        this.#memoryAccess();
        return true;
      case 'memory_access_lane':
        this.#memoryAccess();
        reader.skip(1);
        return true;
      case 'memory_copy':
        this.#memoryIndex();
        this.#memoryIndex();
        return true;
      case 'memory_init':
        this.#dataIndex();
        this.#memoryIndex();
        return true;
      case 'data_drop':
        return this.#mutates(() => this.#dataIndex());
      default:
        return false;
    }
  }

  #mutates(decode: () => void): true {
    this.#module.mutatesTables = true;
    decode();
    return true;
  }

  #index(what: string, size: number): number {
    const reader: ModuleReader = this.#reader;
    const offset = reader.position;
    const index = reader.u32();
    if (index >= size) reader.refuse('invalid_wasm', `There is no ${what} ${index}.`, offset);
    return index;
  }

  #local(): number {
    return this.#locals[this.#index('local', this.#locals.length)] ?? 0;
  }

  #global(): ModuleGlobal {
    const global = this.#module.globals[this.#index('global', this.#module.globals.length)];
    return global ?? this.#reader.refuse('invalid_wasm', 'There is no such global.');
  }

  #tableType(): number {
    return this.#module.tables[this.#index('table', this.#module.tables.length)]?.type ?? 0;
  }

  #elementType(): number {
    return this.#module.elements[this.#index('element segment', this.#module.elements.length)]?.type ?? 0;
  }

  #same(left: number, right: number): void {
    if (left !== right)
      this.#reader.refuse('invalid_wasm', 'An instruction copies elements into a table of another type.');
  }

  #memoryAccess(): void {
    const reader: ModuleReader = this.#reader;
    const offset = reader.position;
    const alignment = reader.u32();
    if (alignment >= 64 && alignment < 128) {
      reader.refuse('unsupported_proposal', 'An instruction names a memory (multi-memory).', offset);
    }
    if (alignment >= 32) reader.malformed('The alignment of a memory access is out of range.', offset);
    reader.u32();
  }

  #memoryIndex(): void {
    const reader: ModuleReader = this.#reader;
    const offset = reader.position;
    if (reader.byte() === 0) return;
    reader.refuse(
      'unsupported_proposal',
      'An instruction names a memory other than 0 (multi-memory).',
      offset,
    );
  }

  #dataIndex(): void {
    const count = this.#dataCount;
    if (count === null) return this.#reader.malformed('An instruction needs a data count section.');
    this.#index('data segment', count);
  }
}
