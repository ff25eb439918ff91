// The entry of the executable: finds out what this process is, and loads nothing but that.
import { inputsOfProcess, roleOfProcess } from './config/inputs.ts';

/**
 * A second entry of the executable. Its name is no constant of the import, or the bundler would put all
 * that it imports at the head of this file, where some of it starts threads; and the engine role must be
 * alone when it forks.
 */
const PROGRAM: string = './program/program.ts';

const role = roleOfProcess();
if (role === 'engine') {
  const { runEngineRole } = await import('./engine/process/role.ts');
  const { decodeRoleInput } = await import('./engine/process/role_input.ts');
  process.exit(runEngineRole(decodeRoleInput(inputsOfProcess().env['EDGE_ENGINE'] ?? '')));
} else {
  const { answerChild, start } = (await import(PROGRAM)) as typeof import('./program/program.ts');
  process.exitCode = role === null ? await start() : await answerChild(role);
}
