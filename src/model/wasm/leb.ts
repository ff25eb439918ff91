// Writes numbers as WebAssembly stores them (LEB128, core specification 5.2.2).

/** The unsigned LEB128 of a safe integer that is not negative. */
export function leb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return [...bytes, rest];
}
