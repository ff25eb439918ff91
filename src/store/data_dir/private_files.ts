// Small files that only this user may read: keys and the first admin token.
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** `name` is a plain file name. A file is there whole or not at all. */
export type PrivateFiles = {
  read(name: string): Promise<string | null>;
  write(name: string, text: string): Promise<void>;
};

export function createPrivateFiles(options: { dir: string }): PrivateFiles {
  const { dir } = options;
  return {
    async read(name) {
      const file = Bun.file(join(dir, name));
      return (await file.exists()) ? await file.text() : null;
    },
    async write(name, text) {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      const temporary = join(dir, `${name}.tmp`);
      await rm(temporary, { force: true });
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, join(dir, name));
    },
  };
}
