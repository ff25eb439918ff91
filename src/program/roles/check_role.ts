// The role `check`: a child that reads a module on stdin and answers on stdout whether it is acceptable.
import { inputsOfProcess } from '../../config/inputs.ts';
import { CHECK_VARIABLE, checkHere, decodeCheckOptions } from './module_check.ts';

export async function runCheckRole(): Promise<void> {
  const options = decodeCheckOptions(inputsOfProcess().env[CHECK_VARIABLE] ?? '');
  const bytes = await Bun.stdin.bytes();
  process.stdout.write(JSON.stringify(checkHere(bytes, options)));
}
