// Starts this program again as a child in one of its hidden roles.
import type { Environment } from '../config/inputs.ts';

/**
 * The command that starts this program: the executable alone, or Bun with the source that it runs. The link in
 * /proc leads to the file that this process runs, also after another has taken its path.
 */
export function commandOfProgram(): string[] {
  return Bun.isStandaloneExecutable ? ['/proc/self/exe'] : [process.execPath, Bun.main];
}

/** `env` and `more`, without the variables that would make the executable act as the bun tool. */
export function childEnvironment(
  env: Environment,
  more: Readonly<Record<string, string>>,
): Record<string, string> {
  const inherited: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && !name.startsWith('BUN_') && name !== 'NODE_OPTIONS') inherited[name] = value;
  }
  return { ...inherited, ...more };
}
