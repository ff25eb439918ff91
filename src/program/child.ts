// Starts this program again as a child in one of its hidden roles.
import type { Environment } from '../config/inputs.ts';

/** Starts this program again: the executable alone, or Bun with the source that it runs. */
export function commandOfProgram(): string[] {
  return Bun.isStandaloneExecutable ? [process.execPath] : [process.execPath, Bun.main];
}

/** The environment of a child that re-executes this program: nothing in it may turn it into the bun tool. */
export function childEnvironment(
  env: Environment,
  more: Readonly<Record<string, string>>,
): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && !name.startsWith('BUN_') && name !== 'NODE_OPTIONS') kept[name] = value;
  }
  return { ...kept, ...more };
}
