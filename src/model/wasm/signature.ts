// Value types and signatures of functions: their short form, their comparison and their text.

/** Value types as the binary format writes them; in a decoded module both are views of its bytes. */
export type Signature = { readonly params: Uint8Array; readonly results: Uint8Array };

export const I32 = 0x7f;
export const FUNCREF = 0x70;
const EXTERNREF = 0x6f;

const NAMES: ReadonlyMap<number, string> = new Map([
  [I32, 'i32'],
  [0x7e, 'i64'],
  [0x7d, 'f32'],
  [0x7c, 'f64'],
  [0x7b, 'v128'],
  [FUNCREF, 'funcref'],
  [EXTERNREF, 'externref'],
]);

export function isReferenceType(byte: number): boolean {
  return byte === FUNCREF || byte === EXTERNREF;
}

export function typeName(type: number): string {
  return NAMES.get(type) ?? 'unknown';
}

const SHOWN_TYPES_MAX = 16;

const typesText = (types: Uint8Array): string => {
  const names = Array.from(types.subarray(0, SHOWN_TYPES_MAX), typeName);
  if (types.length > SHOWN_TYPES_MAX) names.push('...');
  return `(${names.join(', ')})`;
};

/** Such as `(i32, i64) -> (i32)`; a list of more than 16 types is cut. */
export function signatureText(signature: Signature): string {
  return `${typesText(signature.params)} -> ${typesText(signature.results)}`;
}

const LETTERS: Readonly<Record<string, number>> = { i: I32, I: 0x7e, f: 0x7d, F: 0x7c, v: 0x7b };

/** Reads the short form: i32 `i`, i64 `I`, f32 `f`, f64 `F`, v128 `v`, and a colon before the results. */
export function signatureOf(short: string): Signature {
  const encode = (letters: string): Uint8Array => Uint8Array.from(letters, (letter) => LETTERS[letter] ?? 0);
  const [params = '', results = ''] = short.split(':');
  return { params: encode(params), results: encode(results) };
}

export function sameTypes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}

export function sameSignature(left: Signature, right: Signature): boolean {
  return sameTypes(left.params, right.params) && sameTypes(left.results, right.results);
}
