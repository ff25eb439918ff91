// Decodes constant expressions of exactly one instruction, since extended-const is not enabled.
import { disabledProposal } from './instructions.ts';
import type { ParsedModule } from '../module.ts';
import type { ModuleReader } from './reader.ts';
import { decodeHeapType } from './values.ts';

const END = 0x0b;
const GLOBAL_GET = 0x23;
/** The four constants, global.get, ref.null, ref.func and the prefix of v128.const. */
const CONSTANT: ReadonlySet<number> = new Set([0x41, 0x42, 0x43, 0x44, GLOBAL_GET, 0xd0, 0xd2, 0xfd]);
/** i32.add, sub, mul and i64.add, sub, mul. */
const EXTENDED: ReadonlySet<number> = new Set([0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e]);

/** The value as an unsigned number if it is an i32 constant, otherwise null. */
export function decodeConstant(reader: ModuleReader, module: ParsedModule): number | null {
  const value = decodeOperand(reader, module);
  const offset = reader.position;
  const next = reader.byte();
  if (next === END) return value;
  if (CONSTANT.has(next) || EXTENDED.has(next)) {
    reader.refuse('unsupported_proposal', 'A constant has several instructions (extended-const).', offset);
  }
  return refuseOpcode(reader, next, offset);
}

function decodeOperand(reader: ModuleReader, module: ParsedModule): number | null {
  const offset = reader.position;
  const opcode = reader.byte();
  switch (opcode) {
    case 0x41:
      return reader.s32() >>> 0;
    case 0x42:
      reader.skipS64();
      return null;
    case 0x43:
      reader.skip(4);
      return null;
    case 0x44:
      reader.skip(8);
      return null;
    case GLOBAL_GET:
      decodeGlobalIndex(reader, module);
      return null;
    case 0xd0:
      decodeHeapType(reader);
      return null;
    case 0xd2:
      reader.u32();
      return null;
    case 0xfd:
      decodeVectorConstant(reader, offset);
      return null;
    default:
      return refuseOpcode(reader, opcode, offset);
  }
}

function decodeGlobalIndex(reader: ModuleReader, module: ParsedModule): void {
  const offset = reader.position;
  const index = reader.u32();
  if (index < module.importedGlobals) return;
  if (index >= module.globals.length) {
    reader.refuse('invalid_wasm', `There is no global ${index} yet.`, offset);
  }
  reader.refuse('unsupported_proposal', 'A constant reads a global that is not imported (GC).', offset);
}

function decodeVectorConstant(reader: ModuleReader, offset: number): void {
  if (reader.u32() !== 0x0c) reader.refuse('invalid_wasm', 'A vector is computed in a constant.', offset);
  reader.skip(16);
}

function refuseOpcode(reader: ModuleReader, opcode: number, offset: number): never {
  const proposal = disabledProposal(0, opcode);
  if (proposal !== undefined) reader.refuse('unsupported_proposal', `A constant uses ${proposal}.`, offset);
  return reader.refuse('invalid_wasm', 'A constant is missing or computed by an instruction.', offset);
}
