// The two stacks of the validation algorithm: the types of the operands, and the open blocks.
import type { ModuleReader } from './reader.ts';
import { sameTypes, typeName } from '../signature.ts';

/** The type of an operand that unreachable code pops without a push before: it fits every type. */
export const ANY = 0;

const OPCODE_LOOP = 0x03;
const OPCODE_IF = 0x04;
const OPCODE_ELSE = 0x05;

type Block = {
  opener: number;
  readonly params: Uint8Array;
  readonly results: Uint8Array;
  readonly base: number;
  unreachable: boolean;
};

/**
 * From the appendix "Validation Algorithm" of the WebAssembly Core Specification 2.0. Checks unreachable code
 * as well, which the validators of some engines do not. Refuses with `invalid_wasm` at the byte after the
 * instruction, and with `malformed_wasm` for a misplaced `else` or `end`.
 */
export class BlockStack {
  readonly #reader: ModuleReader;
  readonly #depthMax: number;
  readonly #blocks: Block[] = [];
  #types = new Uint8Array(1_024);
  #height = 0;
  #base = 0;

  constructor(reader: ModuleReader, depthMax: number) {
    this.#reader = reader;
    this.#depthMax = depthMax;
  }

  /** The number of open blocks; the function itself is the outermost. */
  get depth(): number {
    return this.#blocks.length;
  }

  push(type: number): void {
    if (this.#height === this.#types.length) {
      const larger = new Uint8Array(this.#height * 2);
      larger.set(this.#types);
      this.#types = larger;
    }
    this.#types[this.#height] = type;
    this.#height += 1;
  }

  pushAll(types: Uint8Array): void {
    for (const type of types) this.push(type);
  }

  /** Pops one operand and returns its type, or ANY. */
  popAny(): number {
    if (this.#height > this.#base) {
      this.#height -= 1;
      return this.#types[this.#height] ?? ANY;
    }
    if (this.#blocks.at(-1)?.unreachable === true) return ANY;
    return this.#reader.refuse('invalid_wasm', 'An instruction lacks an operand.');
  }

  pop(expected: number): void {
    const found = this.popAny();
    if (found !== expected && found !== ANY) this.#mismatch(expected, found);
  }

  popAll(types: Uint8Array): void {
    for (let index = types.length - 1; index >= 0; index -= 1) this.pop(types[index] ?? ANY);
  }

  /** Refuses unless the topmost operands have these types; leaves them on the stack. */
  expect(types: Uint8Array): void {
    const unreachable = this.#blocks.at(-1)?.unreachable === true;
    for (let index = 1; index <= types.length; index += 1) {
      const at = this.#height - index;
      const expected = types[types.length - index] ?? ANY;
      if (at < this.#base) {
        if (!unreachable) this.#reader.refuse('invalid_wasm', 'A branch lacks an operand.');
        return;
      }
      const found = this.#types[at] ?? ANY;
      if (found !== expected && found !== ANY) this.#mismatch(expected, found);
    }
  }

  open(opener: number, params: Uint8Array, results: Uint8Array): void {
    const limit = this.#depthMax;
    if (this.#blocks.length > limit) this.#reader.refuse('nesting_too_deep', `The limit is ${limit}.`);
    this.popAll(params);
    this.#base = this.#height;
    this.#blocks.push({ opener, params, results, base: this.#height, unreachable: false });
    this.pushAll(params);
  }

  otherwise(): void {
    const block = this.#blocks.at(-1);
    if (block?.opener !== OPCODE_IF) this.#reader.malformed('An else stands outside of an if.');
    this.#finish(block);
    block.opener = OPCODE_ELSE;
    block.unreachable = false;
    this.pushAll(block.params);
  }

  close(): void {
    const block = this.#blocks.at(-1);
    if (block === undefined) this.#reader.malformed('An end stands outside of a function.');
    if (block.opener === OPCODE_IF && !sameTypes(block.params, block.results)) {
      this.#reader.refuse('invalid_wasm', 'An if without else has to keep its types.');
    }
    this.#finish(block);
    this.#blocks.pop();
    this.#base = this.#blocks.at(-1)?.base ?? 0;
    this.pushAll(block.results);
  }

  /** The types of the values that a branch to the block `depth` levels up carries. */
  label(depth: number): Uint8Array {
    const block = this.#blocks[this.#blocks.length - 1 - depth];
    if (block === undefined)
      return this.#reader.refuse('invalid_wasm', `There is no block ${depth} levels up.`);
    return block.opener === OPCODE_LOOP ? block.params : block.results;
  }

  /** Marks the rest of the block as unreachable: its operands may have any type. */
  leave(): void {
    const block = this.#blocks.at(-1);
    if (block !== undefined) block.unreachable = true;
    this.#height = this.#base;
  }

  reset(): void {
    this.#blocks.length = 0;
    this.#height = 0;
    this.#base = 0;
  }

  #finish(block: Block): void {
    this.popAll(block.results);
    if (this.#height !== block.base) this.#reader.refuse('invalid_wasm', 'A block leaves operands behind.');
  }

  #mismatch(expected: number, found: number): never {
    const detail = `An operand is ${typeName(found)} where ${typeName(expected)} is needed.`;
    return this.#reader.refuse('invalid_wasm', detail);
  }
}
