// Reads the module that a person names on the command line.
import { CliFailure } from './failure.ts';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'this is a directory',
  EACCES: 'this user may not read it',
};

/** Throws a CliFailure when `file` cannot be read. */
export async function readModule(file: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await Bun.file(file).arrayBuffer());
  } catch (failure) {
    const code = failure instanceof Error && 'code' in failure ? String(failure.code) : '';
    const reason = REASONS[code] ?? (code === '' ? 'it cannot be read' : code);
    throw new CliFailure('file_unreadable', `${file}: ${reason}.`);
  }
}
