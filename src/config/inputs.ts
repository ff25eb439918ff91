// The door to the process: the only place that reads its environment, its arguments and what kind of process
// it is.

/** Variables and their values, as handed to everything else. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a child of this program is started as (`EDGE_ROLE`); null for what a person starts. */
export type Role = 'engine' | 'unpack' | 'check';

export function roleOfProcess(): Role | null {
  const role = process.env['EDGE_ROLE'];
  return role === 'engine' || role === 'unpack' || role === 'check' ? role : null;
}

/** The words after the program's name, and the environment. */
export function inputsOfProcess(): { argv: readonly string[]; env: Environment } {
  return { argv: process.argv.slice(2), env: process.env };
}
