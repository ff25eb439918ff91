// Machines with weaker walls, as programs that stand for the executable: each runs it behind what it lacks.
import { chmodSync, copyFileSync, linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { COMPILE_FLAGS, findCompiler } from '../../native/build/cc.ts';
import { mustRun } from '../../native/build/shell.ts';
import { executable } from './harness.ts';

export const isRoot = process.getuid?.() === 0;
const NOBODY = '65534';

/** Whether this machine lets a user make a namespace of users. */
export function hasUserNamespaces(): boolean {
  return Bun.spawnSync(['unshare', '-Ur', 'true'], { stderr: 'ignore' }).exitCode === 0;
}

/** What the executable runs behind; the later ones are inside the earlier. */
export type Layer =
  'another user' | 'without Landlock' | 'without a bound' | 'one user' | 'one user, own pids';

export type WeakMachines = {
  /** A program that takes the arguments of the executable. */
  program(...layers: Layer[]): string;
  /** A directory that every user may write. */
  home: string;
};

/** `dir` must exist, and other users must be able to enter the directories above it. */
export async function buildWeakMachines(dir: string): Promise<WeakMachines> {
  chmodSync(dir, 0o755);
  const edge = join(dir, 'edge');
  try {
    linkSync(executable(), edge);
  } catch {
    copyFileSync(executable(), edge);
  }
  const { command } = await findCompiler(process.env['CC']);
  for (const name of ['no_landlock', 'no_bound']) {
    const source = join(import.meta.dir, `${name}.c`);
    await mustRun(`${name}.c does not compile.`, [command, ...COMPILE_FLAGS, source, '-o', join(dir, name)]);
  }
  const home = join(dir, 'home');
  mkdirSync(home);
  chmodSync(home, 0o777);
  const before: Record<Layer, string> = {
    'another user': isRoot ? `setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups` : '',
    'without Landlock': join(dir, 'no_landlock'),
    'without a bound': join(dir, 'no_bound'),
    'one user': 'unshare -Ur',
    'one user, own pids': 'unshare -Urpf --kill-child',
  };
  let programs = 0;
  return {
    home,
    program(...layers) {
      programs += 1;
      const path = join(dir, `edge-${programs}`);
      const words = [...layers.map((layer) => before[layer]), edge].filter((word) => word !== '');
      writeFileSync(path, `#!/bin/sh\nexport HOME=${home}\nexec ${words.join(' ')} "$@"\n`, { mode: 0o755 });
      return path;
    },
  };
}
