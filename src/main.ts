// The entry of the executable: finds the role of this process and loads only the code of that role.
import { inputsOfProcess, roleOfProcess } from './config/inputs.ts';

/**
 * A second entry of the executable. A constant in the import would let the bundler put all that it imports at
 * the head of this file; some of that starts threads, and the engine role must have one thread when it forks.
 */
const PROGRAM: string = './program/program.ts';

const role = roleOfProcess();
if (role === 'engine') {
  const { runEngineRole } = await import('./engine/process/role.ts');
  const { decodeRoleInput } = await import('./engine/process/role_input.ts');
  process.exit(runEngineRole(decodeRoleInput(inputsOfProcess().env['EDGE_ENGINE'] ?? '')));
} else {
  const { runCommandLine, runRole } = (await import(PROGRAM)) as typeof import('./program/program.ts');
  process.exitCode = role === null ? await runCommandLine() : await runRole(role);
}
