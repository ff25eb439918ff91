// Decodes and type-checks function bodies: locals, control flow, and a bound on the work of the check.
import { ANY, BlockStack } from './blocks.ts';
import { AFTER_FC, AFTER_FD, PLAIN, disabledProposal, type Immediates } from './instructions.ts';
import { ItemDecoder } from './items.ts';
import { FC_OPERANDS, FD_OPERANDS, PLAIN_OPERANDS, type Operands } from './operands.ts';
import type { ModuleLimits, ParsedModule } from '../module.ts';
import type { ModuleReader } from './reader.ts';
import { FUNCREF, I32, isReferenceType, type Signature } from '../signature.ts';
import { decodeValueType } from './values.ts';

const OPCODE_BLOCK = 0x02;
const OPCODE_IF = 0x04;
const EMPTY_BLOCK = 0x40;
const DECLARED_LOCALS_MAX = 0xffff_ffff;
const NO_TYPES = new Uint8Array(0);

/**
 * The work of a type checker grows with the values that calls, blocks and branches move, and a call of two
 * bytes can move a thousand. This many values per instruction are free; more count against `arityExcessMax`.
 */
const ARITY_FREE = 4;

/** `dataCount` is what the data count section says, or null without one. */
type BodyContext = {
  readonly reader: ModuleReader;
  readonly module: ParsedModule;
  readonly limits: ModuleLimits;
  readonly dataCount: number | null;
};

export class BodyDecoder {
  readonly #reader: ModuleReader;
  readonly #module: ParsedModule;
  readonly #limits: ModuleLimits;
  readonly #blocks: BlockStack;
  readonly #items: ItemDecoder;
  #results: Uint8Array = NO_TYPES;
  #localsTotal = 0;
  #arityExcess = 0;
  #blocksTotal = 0;

  constructor(context: BodyContext) {
    this.#reader = context.reader;
    this.#module = context.module;
    this.#limits = context.limits;
    this.#blocks = new BlockStack(context.reader, context.limits.nestingMax);
    this.#items = new ItemDecoder({ ...context, blocks: this.#blocks });
  }

  /** Decodes one body from its locals to its last `end`; `reader.end` is the end of the body. */
  decode(signature: Signature): void {
    this.#items.enter(this.#decodeLocals(signature.params));
    this.#results = signature.results;
    this.#blocks.reset();
    this.#blocks.open(OPCODE_BLOCK, NO_TYPES, signature.results);
    while (this.#blocks.depth > 0) this.#decodeInstruction();
  }

  #decodeLocals(parameters: Uint8Array): Uint8Array {
    const reader: ModuleReader = this.#reader;
    const limit = this.#limits.localsMax;
    const offset = reader.position;
    const groups = reader.count();
    const start = reader.position;
    let declared = 0;
    for (let group = 0; group < groups; group += 1) {
      declared += reader.u32();
      decodeValueType(reader);
      if (declared > DECLARED_LOCALS_MAX) reader.malformed('It has more than 2^32 - 1 locals.', offset);
    }
    const count = parameters.length + declared;
    if (count > limit) reader.refuse('too_many_locals', `It has ${count}; the limit is ${limit}.`, offset);
    this.#localsTotal += count;
    if (this.#localsTotal > this.#limits.localsTotalMax) {
      const bound = this.#limits.localsTotalMax;
      reader.refuse('too_many_locals', `The functions together have more than ${bound}.`, offset);
    }
    reader.position = start;
    const locals = new Uint8Array(count);
    locals.set(parameters);
    for (let group = 0, at = parameters.length; group < groups; group += 1) {
      const end = at + reader.u32();
      locals.fill(reader.byte(), at, end);
      at = end;
    }
    return locals;
  }

  #decodeInstruction(): void {
    const opcode = this.#reader.byte();
    const immediates = PLAIN[opcode] ?? 'unknown';
    if (immediates === 'prefix_fc') return this.#decodePrefixed(0xfc, AFTER_FC, FC_OPERANDS);
    if (immediates === 'prefix_fd') return this.#decodePrefixed(0xfd, AFTER_FD, FD_OPERANDS);
    if (immediates !== 'none' && !this.#items.decode(immediates)) this.#decodeRest(immediates, opcode, 0);
    this.#apply(PLAIN_OPERANDS[opcode]);
  }

  #decodePrefixed(
    prefix: number,
    kinds: readonly Immediates[],
    operands: readonly (Operands | undefined)[],
  ): void {
    const opcode = this.#reader.u32();
    const immediates = kinds[opcode] ?? 'unknown';
    if (immediates !== 'none' && !this.#items.decode(immediates))
      this.#decodeRest(immediates, opcode, prefix);
    this.#apply(operands[opcode]);
  }

  #apply(operands: Operands | undefined): void {
    if (operands === undefined) return;
    for (const type of operands.pops) this.#blocks.pop(type);
    if (operands.push !== 0) this.#blocks.push(operands.push);
  }

  #decodeRest(immediates: Immediates, opcode: number, prefix: number): void {
    const reader = this.#reader;
    switch (immediates) {
      case 'i32':
        return void reader.s32();
      case 'i64':
        return reader.skipS64();
      case 'f32':
        return reader.skip(4);
      case 'f64':
        return reader.skip(8);
      case 'lane':
        return reader.skip(1);
      case 'sixteen_bytes':
        return reader.skip(16);
      case 'drop':
        return void this.#blocks.popAny();
      case 'select':
        return this.#select();
      case 'select_typed':
        return this.#selectTyped();
      default:
        return this.#decodeControl(immediates, opcode, prefix);
    }
  }

  #decodeControl(immediates: Immediates, opcode: number, prefix: number): void {
    const blocks = this.#blocks;
    switch (immediates) {
      case 'unreachable':
        return blocks.leave();
      case 'block':
        return this.#block(opcode);
      case 'else':
        return blocks.otherwise();
      case 'end':
        return blocks.close();
      case 'br':
        blocks.popAll(this.#label(ARITY_FREE));
        return blocks.leave();
      case 'br_if': {
        blocks.pop(I32);
        const types = this.#label(ARITY_FREE);
        blocks.popAll(types);
        return blocks.pushAll(types);
      }
      case 'br_table':
        return this.#labelTable();
      case 'return':
        this.#charge(this.#results.length, ARITY_FREE);
        blocks.popAll(this.#results);
        return blocks.leave();
      case 'call':
        return this.#call();
      case 'call_indirect':
        return this.#callIndirect();
      default:
        return this.#unknown(opcode, prefix);
    }
  }

  #unknown(opcode: number, prefix: number): never {
    const text = `${prefix === 0 ? '' : `0x${prefix.toString(16)} `}0x${opcode.toString(16)}`;
    const proposal = disabledProposal(prefix, opcode);
    if (proposal !== undefined) {
      this.#reader.refuse('unsupported_proposal', `Instruction ${text} belongs to ${proposal}.`);
    }
    this.#reader.malformed(`Instruction ${text} does not exist.`);
  }

  #block(opcode: number): void {
    const { params, results } = this.#blockType();
    if (opcode === OPCODE_IF) this.#blocks.pop(I32);
    this.#blocksTotal += 1;
    if (this.#blocksTotal > this.#limits.blocksMax) {
      this.#reader.refuse('too_many_items', `The limit is ${this.#limits.blocksMax} blocks.`);
    }
    this.#charge(params.length + results.length, ARITY_FREE);
    this.#blocks.open(opcode, params, results);
  }

  #blockType(): Signature {
    const reader = this.#reader;
    const start = reader.position;
    const first = reader.peek();
    if (first < EMPTY_BLOCK || first >= 0x80) return this.#signature(reader.s33Index());
    if (first !== EMPTY_BLOCK) decodeValueType(reader);
    else reader.skip(1);
    const results = first === EMPTY_BLOCK ? NO_TYPES : reader.bytes.subarray(start, start + 1);
    return { params: NO_TYPES, results };
  }

  #call(): void {
    const index = this.#reader.u32();
    const typeIndex = this.#module.functionTypes[index];
    if (typeIndex === undefined) return this.#reader.refuse('invalid_wasm', `There is no function ${index}.`);
    this.#invoke(this.#signature(typeIndex));
  }

  #callIndirect(): void {
    const signature = this.#signature(this.#reader.u32());
    const table = this.#module.tables[this.#reader.u32()];
    if (table?.type !== FUNCREF)
      return this.#reader.refuse('invalid_wasm', 'It calls through no function table.');
    this.#blocks.pop(I32);
    this.#invoke(signature);
  }

  #invoke({ params, results }: Signature): void {
    this.#charge(params.length + results.length, ARITY_FREE);
    this.#blocks.popAll(params);
    this.#blocks.pushAll(results);
  }

  #signature(typeIndex: number): Signature {
    const signature = this.#module.types[typeIndex];
    return signature ?? this.#reader.refuse('invalid_wasm', `There is no type ${typeIndex}.`);
  }

  #label(free: number): Uint8Array {
    const types = this.#blocks.label(this.#reader.u32());
    this.#charge(types.length, free);
    return types;
  }

  /** Only one value per label is free here: a label takes a single byte. */
  #labelTable(): void {
    const blocks = this.#blocks;
    blocks.pop(I32);
    const targets = this.#reader.count();
    let arity = -1;
    for (let index = 0; index <= targets; index += 1) {
      const types = this.#label(1);
      if (arity !== -1 && arity !== types.length) {
        this.#reader.refuse('invalid_wasm', 'The labels of a br_table carry different numbers of values.');
      }
      arity = types.length;
      blocks.expect(types);
    }
    blocks.leave();
  }

  #charge(values: number, free: number): void {
    if (values <= free) return;
    this.#arityExcess += values - free;
    if (this.#arityExcess > this.#limits.arityExcessMax) {
      this.#reader.refuse('function_too_large', 'Its calls, blocks and branches move too many values.');
    }
  }

  #select(): void {
    const blocks = this.#blocks;
    blocks.pop(I32);
    const second = blocks.popAny();
    const first = blocks.popAny();
    const either = first === ANY ? second : first;
    if (isReferenceType(first) || isReferenceType(second) || (second !== ANY && second !== either)) {
      this.#reader.refuse('invalid_wasm', 'A select is between references or between two types.');
    }
    blocks.push(either);
  }

  #selectTyped(): void {
    const reader = this.#reader;
    const blocks = this.#blocks;
    const count = reader.count();
    if (count !== 1) reader.refuse('invalid_wasm', 'A select has one type.');
    const type = decodeValueType(reader);
    blocks.pop(I32);
    blocks.pop(type);
    blocks.pop(type);
    blocks.push(type);
  }
}
