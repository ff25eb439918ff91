// Mutations that know nothing of WebAssembly but its integers: most make a module that is refused.
import { leb } from '../../../src/model/wasm/leb.ts';
import type { Chance } from './chance.ts';

/** Returns other bytes, or the same where it finds nothing to change; `other` is a second module. */
export type Mutation = (bytes: Uint8Array, chance: Chance, other: Uint8Array) => Uint8Array;

const NUMBERS = [0, 1, 2, 63, 64, 127, 128, 255, 16_383, 65_535, 65_536, 100_000, 2 ** 31 - 1, 2 ** 31];
const COUNTS = [...NUMBERS, 2 ** 32 - 2, 2 ** 32 - 1, 2 ** 32, 2 ** 35];
const PIECE_BYTES_MAX = 64;

export const replaced = (bytes: Uint8Array, from: number, to: number, piece: ArrayLike<number>): Uint8Array =>
  Buffer.concat([bytes.subarray(0, from), Uint8Array.from(piece), bytes.subarray(to)]);

const changed = (bytes: Uint8Array, at: number, value: number): Uint8Array => {
  const copy = Uint8Array.from(bytes);
  copy[at] = value;
  return copy;
};

const flipBit: Mutation = (bytes, chance) => {
  const at = chance.below(bytes.length);
  return changed(bytes, at, (bytes[at] ?? 0) ^ (1 << chance.below(8)));
};

const setByte: Mutation = (bytes, chance) => changed(bytes, chance.below(bytes.length), chance.below(256));

const insertByte: Mutation = (bytes, chance) => {
  const at = chance.below(bytes.length + 1);
  return replaced(bytes, at, at, [chance.below(256)]);
};

const removePiece: Mutation = (bytes, chance) => {
  const at = chance.below(bytes.length);
  return replaced(bytes, at, at + 1 + chance.below(PIECE_BYTES_MAX), []);
};

const repeatPiece: Mutation = (bytes, chance) => {
  const at = chance.below(bytes.length);
  return replaced(bytes, at, at, bytes.subarray(at, at + 1 + chance.below(PIECE_BYTES_MAX)));
};

const truncate: Mutation = (bytes, chance) => bytes.subarray(0, chance.below(bytes.length + 1));

const overwrite: Mutation = (bytes, chance, other) => {
  const [at, from] = [chance.below(bytes.length), chance.below(other.length)];
  const piece = other.subarray(from, from + 1 + chance.below(PIECE_BYTES_MAX));
  return replaced(bytes, at, at + piece.length, piece);
};

/** The first half of one module and the second half of another. */
const splice: Mutation = (bytes, chance, other) =>
  Buffer.concat([bytes.subarray(0, chance.below(bytes.length)), other.subarray(chance.below(other.length))]);

/** Takes any byte for an integer and writes another, also longer or larger than the format allows. */
const editInteger: Mutation = (bytes, chance) => {
  const at = 8 + chance.below(Math.max(1, bytes.length - 8));
  let end = at;
  while (end < bytes.length && (bytes[end] ?? 0) >= 0x80) end += 1;
  const integer = leb(chance.pick(COUNTS));
  if (!chance.once(4)) return replaced(bytes, at, end + 1, integer);
  const padded = integer.map((byte, place) => (place === integer.length - 1 ? byte | 0x80 : byte));
  return replaced(bytes, at, end + 1, [...padded, ...(chance.once(2) ? [0x80, 0x00] : [0x00])]);
};

export const BYTE_MUTATIONS: Readonly<Record<string, Mutation>> = {
  flipBit,
  setByte,
  insertByte,
  removePiece,
  repeatPiece,
  truncate,
  overwrite,
  splice,
  editInteger,
};
