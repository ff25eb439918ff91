// Reads the module that a person names on the command line.
import { CliFailure } from './failure.ts';

/** The bytes of a module; a CliFailure when there is no such file. */
export async function readModule(file: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await Bun.file(file).arrayBuffer());
  } catch (failure) {
    const reason = failure instanceof Error && 'code' in failure ? String(failure.code) : 'it cannot be read';
    throw new CliFailure(
      'file_unreadable',
      `${file}: ${reason === 'ENOENT' ? 'there is no such file' : reason}`,
    );
  }
}
