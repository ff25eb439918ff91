// Decodes element and data segments: where they are copied to and how large they are, not what they hold.
import { decodeConstant } from './constants.ts';
import type { ModuleLimits, ParsedModule } from '../module.ts';
import type { ModuleReader } from './reader.ts';
import { FUNCREF } from '../signature.ts';
import { decodeReferenceType } from './values.ts';

const NOT_ACTIVE = 1;
const HAS_INDEX = 2;
const HAS_EXPRESSIONS = 4;

export function decodeElements(reader: ModuleReader, module: ParsedModule, limits: ModuleLimits): void {
  const max = limits.segmentsMax;
  const segments = reader.count({ max, code: 'too_many_items', what: 'element segments' });
  let items = 0;
  for (let index = 0; index < segments; index += 1) {
    items += decodeElement(reader, module);
    if (items > limits.elementItemsMax) {
      const bound = limits.elementItemsMax;
      reader.refuse('too_many_items', `Its element segments together have more than ${bound} elements.`);
    }
  }
}

function decodeElement(reader: ModuleReader, module: ParsedModule): number {
  const offset = reader.position;
  const flags = reader.u32();
  if (flags > 7) reader.malformed('The flags of an element segment are unknown.', offset);
  const active = (flags & NOT_ACTIVE) === 0;
  const table = active && (flags & HAS_INDEX) !== 0 ? reader.u32() : 0;
  const start = active ? decodeConstant(reader, module) : null;
  const expressions = (flags & HAS_EXPRESSIONS) !== 0;
  const typed = (flags & (NOT_ACTIVE | HAS_INDEX)) !== 0;
  const type = typed ? decodeElementType(reader, expressions) : FUNCREF;
  const count = reader.count();
  for (let item = 0; item < count; item += 1) {
    if (expressions) decodeConstant(reader, module);
    else reader.u32();
  }
  module.elements.push({ table, type, start, count, offset });
  return count;
}

function decodeElementType(reader: ModuleReader, expressions: boolean): number {
  if (expressions) return decodeReferenceType(reader);
  const offset = reader.position;
  if (reader.byte() !== 0) reader.malformed('The kind of an element segment is unknown.', offset);
  return FUNCREF;
}

/** `declared` is what the data count section says, or null without one. */
export function decodeData(
  reader: ModuleReader,
  module: ParsedModule,
  limits: ModuleLimits,
  declared: number | null,
): void {
  const offset = reader.position;
  const max = limits.segmentsMax;
  const segments = reader.count({ max, code: 'too_many_items', what: 'data segments' });
  if (declared !== null && declared !== segments) {
    reader.malformed('The data count section and the data section differ.', offset);
  }
  for (let index = 0; index < segments; index += 1) decodeDataSegment(reader, module);
}

function decodeDataSegment(reader: ModuleReader, module: ParsedModule): void {
  const offset = reader.position;
  const flags = reader.u32();
  if (flags > 2) reader.malformed('The flags of a data segment are unknown.', offset);
  if (flags === 2 && reader.u32() !== 0) {
    reader.refuse('unsupported_proposal', 'A data segment is not for memory 0 (multi-memory).', offset);
  }
  const start = flags === 1 ? null : decodeConstant(reader, module);
  const sizeBytes = reader.u32();
  reader.skip(sizeBytes);
  module.data.push({ start, sizeBytes, offset });
}
