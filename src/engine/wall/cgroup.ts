// A control group for the engine process and its children, which bounds what all of them take together.
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The files of control groups; each function throws as `node:fs` does. */
export type CgroupFiles = {
  read(path: string): string;
  write(path: string, text: string): void;
  /** Makes a directory unless it is there. */
  make(path: string): void;
  remove(path: string): void;
};

export const SYSTEM_FILES: CgroupFiles = {
  read: (path) => readFileSync(path, 'utf8'),
  write: (path, text) => writeFileSync(path, text),
  make: (path) => void mkdirSync(path, { recursive: true }),
  remove: (path) => rmdirSync(path),
};

export type CgroupOptions = {
  files: CgroupFiles;
  /** Where control groups are mounted. */
  root: string;
  /** This process. */
  pid: number;
  memoryBytesMax: number;
  pidsMax: number;
};

export type Cgroup = {
  /** Puts a process into it, whose later children follow; false when the kernel refuses. */
  add(pid: number): boolean;
  /** Moves this process back and removes what was made; the processes in it must have ended. */
  close(): void;
};

export type CgroupOutcome = { ok: true; cgroup: Cgroup } | { ok: false; reason: string };

const CONTROLLERS = ['memory', 'pids'];
/** This process moves here, because a group with processes of its own may bound no group below it. */
const OWN = 'edge';
const ENGINE = 'engine';

/** Makes no group where the one of this process was not given to it alone. */
export function openCgroup(options: CgroupOptions): CgroupOutcome {
  const { files, pid } = options;
  const dir = directoryOf(options);
  if (dir === null) return { ok: false, reason: 'this process is in no cgroup v2' };
  const refusal = refusalOf(files, dir, pid);
  if (refusal !== null) return { ok: false, reason: refusal };
  const cgroup = cgroupIn(files, dir, pid);
  try {
    fill(dir, options);
    return { ok: true, cgroup };
  } catch (failure) {
    cgroup.close();
    const code = failure instanceof Error && 'code' in failure ? String(failure.code) : 'an error';
    return { ok: false, reason: `its cgroup was not delegated to it (${code})` };
  }
}

/** In a hybrid hierarchy, version 2 is mounted below version 1. */
function directoryOf({ files, root }: CgroupOptions): string | null {
  const [, path] = /^0::(\/.*)$/m.exec(textOf(files, '/proc/self/cgroup') ?? '') ?? [];
  if (path === undefined) return null;
  const dirs = [join(root, path), join(root, 'unified', path)];
  return dirs.find((dir) => textOf(files, join(dir, 'cgroup.controllers')) !== null) ?? null;
}

function refusalOf(files: CgroupFiles, dir: string, pid: number): string | null {
  const words = (name: string): string[] =>
    (textOf(files, join(dir, name)) ?? '').split(/\s+/).filter(Boolean);
  const controllers = words('cgroup.controllers');
  const lacking = CONTROLLERS.filter((name) => !controllers.includes(name));
  if (lacking.length > 0) return `its cgroup v2 has no controller for ${lacking.join(' and ')}`;
  return words('cgroup.procs').some((one) => one !== `${pid}`) ? 'other processes are in its cgroup' : null;
}

function fill(dir: string, { files, pid, memoryBytesMax, pidsMax }: CgroupOptions): void {
  files.make(join(dir, OWN));
  files.write(join(dir, OWN, 'cgroup.procs'), `${pid}`);
  files.write(join(dir, 'cgroup.subtree_control'), CONTROLLERS.map((name) => `+${name}`).join(' '));
  const engine = join(dir, ENGINE);
  files.make(engine);
  files.write(join(engine, 'memory.max'), `${memoryBytesMax}`);
  // One worker that takes too much is killed, not all of them.
  files.write(join(engine, 'memory.oom.group'), '0');
  files.write(join(engine, 'pids.max'), `${pidsMax}`);
}

function cgroupIn(files: CgroupFiles, dir: string, pid: number): Cgroup {
  const isDone = (step: () => void): boolean => {
    try {
      step();
      return true;
    } catch {
      return false;
    }
  };
  return {
    add: (one) => isDone(() => files.write(join(dir, ENGINE, 'cgroup.procs'), `${one}`)),
    close() {
      const none = CONTROLLERS.map((name) => `-${name}`).join(' ');
      isDone(() => files.remove(join(dir, ENGINE)));
      isDone(() => files.write(join(dir, 'cgroup.subtree_control'), none));
      isDone(() => files.write(join(dir, 'cgroup.procs'), `${pid}`));
      isDone(() => files.remove(join(dir, OWN)));
    },
  };
}

/** Null where the file cannot be read. */
function textOf(files: CgroupFiles, path: string): string | null {
  try {
    return files.read(path);
  } catch {
    return null;
  }
}
