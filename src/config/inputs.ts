// The only reader of the environment and the arguments of this process.

/** Variables and their values. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a child of this program does (`EDGE_ROLE`). */
export type Role = 'engine' | 'unpack' | 'check';

/** Null for a process that a person started. */
export function roleOfProcess(): Role | null {
  const role = process.env['EDGE_ROLE'];
  return role === 'engine' || role === 'unpack' || role === 'check' ? role : null;
}

/** `argv` holds the arguments after the program's name. */
export function inputsOfProcess(): { argv: readonly string[]; env: Environment } {
  return { argv: process.argv.slice(2), env: process.env };
}
