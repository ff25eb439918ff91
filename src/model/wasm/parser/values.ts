// Decodes types: value types, reference types, signatures, and the ranges of memories and tables.
import type { ModuleLimits, SizeRange, TableType } from '../module.ts';
import { I32, isReferenceType, type Signature } from '../signature.ts';
import type { ModuleReader } from './reader.ts';

const isValueType = (byte: number): boolean => (byte <= I32 && byte >= 0x7b) || isReferenceType(byte);
/** Types of proposals that are not enabled: exceptions, stack switching, typed references, GC. */
const isLaterType = (byte: number): boolean => byte >= 0x62 && byte <= 0x75;

export function decodeValueType(reader: ModuleReader): number {
  const offset = reader.position;
  const byte = reader.byte();
  if (isValueType(byte)) return byte;
  if (isLaterType(byte)) {
    reader.refuse('unsupported_proposal', 'It is a reference type other than funcref and externref.', offset);
  }
  return reader.malformed('This is not a value type.', offset);
}

export function decodeReferenceType(reader: ModuleReader): number {
  const offset = reader.position;
  const byte = reader.byte();
  if (isReferenceType(byte)) return byte;
  if (isLaterType(byte)) {
    reader.refuse('unsupported_proposal', 'It is a reference type other than funcref and externref.', offset);
  }
  return reader.malformed('This is not a reference type.', offset);
}

/** The immediate of `ref.null`, as the type of the reference. */
export function decodeHeapType(reader: ModuleReader): number {
  const offset = reader.position;
  const byte = reader.byte();
  if (isReferenceType(byte)) return byte;
  if (isValueType(byte)) reader.malformed('This is not a heap type.', offset);
  return reader.refuse('unsupported_proposal', 'It is a reference to other than func and extern.', offset);
}

function decodeResultTypes(reader: ModuleReader, limits: ModuleLimits): Uint8Array {
  const max = limits.parametersMax;
  const count = reader.count({ max, code: 'too_many_items', what: 'parameters or results' });
  const start = reader.position;
  for (let index = 0; index < count; index += 1) decodeValueType(reader);
  return reader.bytes.subarray(start, reader.position);
}

export function decodeSignature(reader: ModuleReader, limits: ModuleLimits): Signature {
  const offset = reader.position;
  const form = reader.byte();
  if (form >= 0x4c && form <= 0x5f && form !== 0x51) {
    reader.refuse('unsupported_proposal', 'A type is not a plain function type (GC).', offset);
  }
  if (form !== 0x60) reader.malformed('A type does not start with 0x60.', offset);
  return { params: decodeResultTypes(reader, limits), results: decodeResultTypes(reader, limits) };
}

/** By the flags without their lowest bit; several proposals may be asked for at once. */
const MEMORY_PROPOSALS: readonly string[] = [
  '',
  'threads',
  'memory64',
  'memory64',
  'custom page sizes',
  'custom page sizes',
  'custom page sizes',
  'custom page sizes',
];

export function decodeMemoryType(reader: ModuleReader): SizeRange {
  const offset = reader.position;
  const flags = reader.byte();
  const proposal = MEMORY_PROPOSALS[flags >> 1];
  if (proposal !== undefined && flags > 1 && flags < 16) {
    reader.refuse('unsupported_proposal', `The flags of a memory ask for ${proposal}.`, offset);
  }
  return decodeRange(reader, flags, offset);
}

export function decodeTableType(reader: ModuleReader): TableType {
  const start = reader.position;
  if (reader.peek() === 0x40) {
    reader.refuse('unsupported_proposal', 'A table has an initial value (typed function references).', start);
  }
  const type = decodeReferenceType(reader);
  const offset = reader.position;
  const flags = reader.byte();
  if (flags >= 2 && flags <= 7) {
    reader.refuse('unsupported_proposal', 'It is a shared or 64-bit table (threads, memory64).', offset);
  }
  return { ...decodeRange(reader, flags, offset), type };
}

function decodeRange(reader: ModuleReader, flags: number, offset: number): SizeRange {
  if (flags > 1) reader.malformed('The flags of a memory or table are unknown.', offset);
  const min = reader.u32();
  const max = flags === 1 ? reader.u32() : null;
  if (max !== null && max < min) {
    reader.refuse('invalid_wasm', 'A memory or table has a maximum below its minimum.', offset);
  }
  return { min, max, offset };
}
