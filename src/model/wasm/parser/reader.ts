// A bounded cursor over the bytes of a module: LEB128 integers, names and counts, as strict as the format.
import type { ModuleErrorCode } from '../../../base/errors.ts';
import { moduleFault, type ModuleFault } from '../fault.ts';

/** Thrown at any depth of the decoder; `parseModule` catches it and returns its fault. */
export class ModuleRefusal extends Error {
  readonly fault: ModuleFault;

  constructor(fault: ModuleFault) {
    super(fault.message);
    this.name = 'ModuleRefusal';
    this.fault = fault;
  }
}

type CountBound = { max: number; code: ModuleErrorCode; what: string };

/**
 * Reads "Values" of the binary format of the WebAssembly Core Specification. A read beyond `end` or an
 * ill-formed value throws `ModuleRefusal`.
 */
export class ModuleReader {
  readonly bytes: Uint8Array;
  position = 0;
  end: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.end = bytes.length;
  }

  refuse(code: ModuleErrorCode, detail: string, offset: number = this.position): never {
    throw new ModuleRefusal(moduleFault(code, detail, { offset }));
  }

  malformed(detail: string, offset: number = this.position): never {
    this.refuse('malformed_wasm', detail, offset);
  }

  byte(): number {
    const value = this.position < this.end ? this.bytes[this.position] : undefined;
    if (value === undefined) this.malformed('The bytes end too early.');
    this.position += 1;
    return value;
  }

  peek(): number {
    const value = this.position < this.end ? this.bytes[this.position] : undefined;
    return value ?? this.malformed('The bytes end too early.');
  }

  skip(length: number): void {
    if (length > this.end - this.position) this.malformed('The bytes end too early.');
    this.position += length;
  }

  u32(): number {
    const start = this.position;
    let byte = this.byte();
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    for (let shift = 7; shift < 28; shift += 7) {
      byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    byte = this.byte();
    if (byte > 0x0f) this.malformed('An integer is longer or larger than 32 bits.', start);
    return (value | (byte << 28)) >>> 0;
  }

  s32(): number {
    const start = this.position;
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value << (25 - shift)) >> (25 - shift);
    }
    const last = this.byte();
    if (last > 0x07 && (last < 0x78 || last > 0x7f)) {
      this.malformed('A signed integer is longer or larger than 32 bits.', start);
    }
    return value | (last << 28);
  }

  /** Checks a signed 64-bit integer and skips it: nothing needs its value. */
  skipS64(): void {
    const start = this.position;
    for (let index = 0; index < 9; index += 1) {
      if (this.byte() < 0x80) return;
    }
    const last = this.byte();
    if (last === 0x00 || last === 0x7f) return;
    this.malformed('A signed integer is longer or larger than 64 bits.', start);
  }

  /** A type index, written as a signed 33-bit integer that is not negative. */
  s33Index(): number {
    const start = this.position;
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x40) return value >>> 0;
      if (byte < 0x80) this.malformed('A type index is negative.', start);
    }
    const last = this.byte();
    if (last > 0x0f) this.malformed('A type index is negative or larger than 32 bits.', start);
    return (value | (last << 28)) >>> 0;
  }

  /** The length of a vector; refused above `bound`, or if fewer bytes are left than it has items. */
  count(bound?: CountBound): number {
    const start = this.position;
    const value = this.u32();
    if (value > this.end - this.position) this.malformed('A vector is longer than its bytes.', start);
    if (bound !== undefined && value > bound.max) {
      this.refuse(bound.code, `It has ${value} ${bound.what}; the limit is ${bound.max}.`, start);
    }
    return value;
  }

  name(bytesMax: number): string {
    const start = this.position;
    const length = this.u32();
    const from = this.position;
    this.skip(length);
    if (length > bytesMax) {
      this.refuse('name_too_long', `It has ${length} bytes; the limit is ${bytesMax}.`, start);
    }
    try {
      return this.#decoder.decode(this.bytes.subarray(from, this.position));
    } catch {
      this.malformed('A name is not valid UTF-8.', from);
    }
  }

  /** Narrows `end` to the next `size` bytes, runs `decode`, and refuses bytes that it leaves over. */
  within<T>(size: number, what: string, decode: () => T): T {
    const outer = this.end;
    if (size > outer - this.position) this.malformed(`The ${what} is longer than the bytes that are left.`);
    this.end = this.position + size;
    const value = decode();
    if (this.position !== this.end) this.malformed(`The ${what} has bytes left over.`);
    this.end = outer;
    return value;
  }
}
