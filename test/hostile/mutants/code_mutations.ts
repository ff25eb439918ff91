// Mutations of function bodies that mostly leave a valid module which does something else.
import { leb } from '../../../src/model/wasm/leb.ts';
import { PLAIN_OPERANDS } from '../../../src/model/wasm/parser/operands.ts';
import { PLAIN } from '../../../src/model/wasm/parser/instructions.ts';
import { parseModule } from '../../../src/model/wasm/parser/parser.ts';
import type { ParsedModule } from '../../../src/model/wasm/module.ts';
import { type Mutation, replaced } from './byte_mutations.ts';
import type { Chance } from './chance.ts';
import { bodiesOf, type Instruction, instructionsOf, SECTION, withBodies, withSection } from './layout.ts';

const [I32, I64, F32, F64, V128] = [0x7f, 0x7e, 0x7d, 0x7c, 0x7b];
const INTERESTING = [0n, 1n, -1n, 7n, 64n, 255n, 65_535n, 65_536n, 1n << 31n, -(1n << 31n), (1n << 31n) - 1n];
const WIDE = [...INTERESTING, 1n << 63n, -(1n << 62n), (1n << 62n) + 1n];
const CALL = 0x10;

/** The signed LEB128 of a number that fits `bits`. */
function signed(value: bigint, bits: number): number[] {
  const bytes: number[] = [];
  for (let rest = BigInt.asIntN(bits, value); ; rest >>= 7n) {
    const byte = Number(rest & 0x7fn);
    const isLast = (rest >> 7n === 0n && byte < 0x40) || (rest >> 7n === -1n && byte >= 0x40);
    bytes.push(isLast ? byte : byte | 0x80);
    if (isLast) return bytes;
  }
}

const bytesOf = (count: number, chance: Chance): number[] => {
  const special = chance.pick([[0], [0xff], [0, 0, 0x80, 0x7f], [0, 0, 0, 0, 0, 0, 0xf0, 0x7f]]);
  return Array.from({ length: count }, (_, at) => special[at % special.length] ?? 0);
};

/** Instructions that push one value of the type. */
function constantOf(type: number, chance: Chance): number[] {
  if (type === I32) return [0x41, ...signed(chance.pick(INTERESTING), 32)];
  if (type === I64) return [0x42, ...signed(chance.pick(WIDE), 64)];
  if (type === F32) return [0x43, ...bytesOf(4, chance)];
  if (type === F64) return [0x44, ...bytesOf(8, chance)];
  if (type === V128) return [0xfd, 12, ...bytesOf(16, chance)];
  return [0xd0, type];
}

type Place = { bodies: Uint8Array[]; at: number; body: Uint8Array; instructions: Instruction[] };

function placeOf(bytes: Uint8Array, chance: Chance): Place | null {
  const bodies = bodiesOf(bytes);
  const at = chance.below(bodies.length);
  const body = bodies[at];
  return body === undefined ? null : { bodies, at, body, instructions: instructionsOf(body) };
}

const rewritten = (bytes: Uint8Array, place: Place, body: Uint8Array): Uint8Array =>
  withBodies(bytes, place.bodies.with(place.at, body));

/** Replaces one of the instructions that `change` has an answer for. */
function edited(
  bytes: Uint8Array,
  chance: Chance,
  change: (instruction: Instruction, body: Uint8Array) => readonly number[] | null,
): Uint8Array {
  const place = placeOf(bytes, chance);
  if (place === null) return bytes;
  const from = chance.below(place.instructions.length);
  const turned = [...place.instructions.slice(from), ...place.instructions.slice(0, from)];
  for (const instruction of turned) {
    const piece = change(instruction, place.body);
    if (piece === null) continue;
    return rewritten(bytes, place, replaced(place.body, instruction.start, instruction.end, piece));
  }
  return bytes;
}

/** Inserts instructions that leave the stack as it was. */
function inserted(bytes: Uint8Array, chance: Chance, code: readonly number[]): Uint8Array {
  const place = placeOf(bytes, chance);
  if (place === null || place.instructions.length === 0) return bytes;
  const { start } = chance.pick(place.instructions);
  return rewritten(bytes, place, replaced(place.body, start, start, code));
}

const CONSTANT_TYPES: Readonly<Record<number, number>> = { 0x41: I32, 0x42: I64, 0x43: F32, 0x44: F64 };

const changeConstant: Mutation = (bytes, chance) =>
  edited(bytes, chance, ({ opcode }) => {
    const type = CONSTANT_TYPES[opcode];
    return type === undefined ? null : constantOf(type, chance);
  });

/** For each opcode the others with the same operands, result and immediates. */
const ALIKE = PLAIN_OPERANDS.map((mine, opcode) =>
  PLAIN_OPERANDS.flatMap((theirs, other) => {
    if (mine === undefined || theirs === undefined || other === opcode) return [];
    const isAlike = Bun.deepEquals(mine, theirs) && PLAIN[opcode] === PLAIN[other];
    return isAlike ? [other] : [];
  }),
);

const swapOpcode: Mutation = (bytes, chance) =>
  edited(bytes, chance, ({ opcode, operands, end }, body) => {
    const others = ALIKE[opcode] ?? [];
    if (others.length === 0) return null;
    const kept = [...body.subarray(operands, end)];
    // An alignment above that of the access is not valid.
    if (PLAIN[opcode] === 'memory_access') kept[0] = 0;
    return [chance.pick(others), ...kept];
  });

const anyOpcode: Mutation = (bytes, chance) =>
  edited(bytes, chance, ({ operands, end }, body) => [chance.below(256), ...body.subarray(operands, end)]);

/** Another index of a local, global, function, label or table, or another offset. */
const changeIndex: Mutation = (bytes, chance) =>
  edited(bytes, chance, ({ opcode, operands, end }) => {
    const isIndexed = (opcode >= 0x0c && opcode <= 0x11) || (opcode >= 0x20 && opcode <= 0x26);
    if (isIndexed && opcode !== 0x0e && opcode !== 0x0f && opcode !== 0x11)
      return [opcode, ...leb(chance.below(12))];
    if (PLAIN[opcode] !== 'memory_access' || end === operands) return null;
    return [opcode, 0, ...leb(chance.pick([0, 1, 65_535, 65_536, 2 ** 24, 2 ** 31, 2 ** 32 - 1]))];
  });

const removeInstruction: Mutation = (bytes, chance) => edited(bytes, chance, () => []);

const repeatInstruction: Mutation = (bytes, chance) =>
  edited(bytes, chance, ({ start, end }, body) => [
    ...body.subarray(start, end),
    ...body.subarray(start, end),
  ]);

const insertLoop: Mutation = (bytes, chance) =>
  inserted(bytes, chance, [
    0x03,
    0x40,
    ...(chance.once(4) ? [] : constantOf(I32, chance)),
    ...(chance.once(4) ? [0x0c, 0] : [0x1a, 0x41, chance.below(2), 0x0d, 0]),
    0x0b,
  ]);

const insertTrap: Mutation = (bytes, chance) =>
  inserted(
    bytes,
    chance,
    chance.pick([
      [0x00],
      [0x41, 1, 0x41, 0, 0x6d, 0x1a],
      [0x41, 0x7f, 0x28, 2, 0, 0x1a],
      [0x43, 0, 0, 0xc0, 0x7f, 0xa8, 0x1a],
      [0x42, 0x7f, 0x42, 0, 0x81, 0x1a],
    ]),
  );

const insertMemory: Mutation = (bytes, chance) => {
  const three = [0, 1, 2].flatMap(() => constantOf(I32, chance));
  const kinds = [
    [...constantOf(I32, chance), 0x40, 0, 0x1a],
    [...three, 0xfc, 11, 0],
    [...three, 0xfc, 10, 0, 0],
    [...constantOf(I32, chance), ...constantOf(I64, chance), 0x37, 0, ...leb(chance.below(70_000))],
    [0x3f, 0, 0x1a],
  ];
  return inserted(bytes, chance, chance.pick(kinds));
};

function parsed(bytes: Uint8Array): ParsedModule | null {
  const result = parseModule(bytes);
  return result.ok ? result.module : null;
}

/** Calls a function, an import included, with constants: host functions get pointers of every kind. */
const insertCall: Mutation = (bytes, chance) => {
  const module = parsed(bytes);
  if (module === null) return bytes;
  const { functionTypes, importedFunctions } = module;
  const isImport = importedFunctions > 0 && !chance.once(3);
  const index = chance.below(isImport ? importedFunctions : functionTypes.length);
  const signature = module.types[functionTypes[index] ?? -1];
  if (signature === undefined || signature.params.length > 16) return bytes;
  const given = Array.from(signature.params, (type) => constantOf(type, chance)).flat();
  const dropped = Array.from(signature.results, () => 0x1a);
  return inserted(bytes, chance, [...given, CALL, ...leb(index), ...dropped]);
};

const swapBodies: Mutation = (bytes, chance) => {
  const bodies = bodiesOf(bytes);
  const [one, two] = [chance.below(bodies.length), chance.below(bodies.length)];
  const [first, second] = [bodies[one], bodies[two]];
  if (first === undefined || second === undefined) return bytes;
  return withBodies(bytes, bodies.with(one, second).with(two, first));
};

const takeBody: Mutation = (bytes, chance, other) => {
  const [mine, theirs] = [bodiesOf(bytes), bodiesOf(other)];
  if (mine.length === 0 || theirs.length === 0) return bytes;
  return withBodies(bytes, mine.with(chance.below(mine.length), chance.pick(theirs)));
};

/** More locals, of any type, at the end of the declarations of a body. */
const addLocals: Mutation = (bytes, chance) => {
  const place = placeOf(bytes, chance);
  const [first] = place?.instructions ?? [];
  const groups = place?.body[0] ?? 0x7f;
  if (place === null || first === undefined || groups >= 0x7e) return bytes;
  const count = chance.pick([1, 16, 500, 1_056, 40_000, 50_001]);
  const declared = [...leb(count), chance.pick([I32, I64, F32, F64, V128, 0x70, 0x6f])];
  const body = [groups + 1, ...place.body.subarray(1, first.start), ...declared];
  return rewritten(bytes, place, Uint8Array.from([...body, ...place.body.subarray(first.start)]));
};

const startFunction: Mutation = (bytes, chance) => {
  const module = parsed(bytes);
  return module === null
    ? bytes
    : withSection(bytes, SECTION.start, leb(chance.below(module.functionTypes.length)));
};

export const CODE_MUTATIONS: Readonly<Record<string, Mutation>> = {
  changeConstant,
  swapOpcode,
  anyOpcode,
  changeIndex,
  removeInstruction,
  repeatInstruction,
  insertLoop,
  insertTrap,
  insertMemory,
  insertCall,
  swapBodies,
  takeBody,
  addLocals,
  startFunction,
};
