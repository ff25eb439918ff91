// The cgroup of the engine, in a tree of files that has the rules of the kernel.
import { describe, expect, test } from 'bun:test';
import { dirname, join } from 'node:path';
import { type CgroupFiles, type CgroupOutcome, openCgroup } from '../../../src/engine/wall/cgroup.ts';

const ROOT = '/cgroup';
const OWN = '/cgroup/edge.service';
const EDGE = 100;
const ENGINE = 200;

type Tree = {
  files: CgroupFiles;
  groups(): string[];
  /** The group that holds the process. */
  groupOf(pid: number): string | undefined;
  valueOf(path: string): string | undefined;
  end(pid: number): void;
};

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** Groups from `OWN` down: its processes, and the controllers that it passes on to groups below. */
function treeOf(given: {
  self?: string;
  controllers?: string;
  processes?: number[];
  isReadOnly?: boolean;
}): Tree {
  const { self = '0::/edge.service\n', controllers = 'cpu memory pids', isReadOnly = false } = given;
  const groups = new Map([
    [OWN, { processes: new Set(given.processes ?? [EDGE]), passed: new Set<string>() }],
  ]);
  const values = new Map<string, string>();
  const find = (path: string): { processes: Set<number>; passed: Set<string> } => {
    const group = groups.get(path);
    if (group === undefined) throw failure('ENOENT');
    return group;
  };
  const below = (path: string): string[] => [...groups.keys()].filter((one) => dirname(one) === path);
  const move = (path: string, pid: number): void => {
    if (find(path).passed.size > 0) throw failure('EBUSY');
    for (const group of groups.values()) group.processes.delete(pid);
    find(path).processes.add(pid);
  };
  const pass = (path: string, words: readonly string[]): void => {
    const { passed, processes } = find(path);
    for (const word of words) {
      if (word.startsWith('-')) passed.delete(word.slice(1));
      else if (processes.size > 0) throw failure('EBUSY');
      else passed.add(word.slice(1));
    }
  };
  const files: CgroupFiles = {
    read(path) {
      if (path === '/proc/self/cgroup') return self;
      const group = find(dirname(path));
      if (path.endsWith('/cgroup.controllers')) return `${controllers}\n`;
      if (path.endsWith('/cgroup.procs')) return [...group.processes].join('\n');
      throw failure('ENOENT');
    },
    write(path, text) {
      if (isReadOnly) throw failure('EROFS');
      const group = dirname(path);
      find(group);
      if (path.endsWith('/cgroup.procs')) return move(group, Number(text));
      if (path.endsWith('/cgroup.subtree_control')) return pass(group, text.split(' '));
      const controller = path.slice(group.length + 1).split('.')[0] ?? '';
      if (!find(dirname(group)).passed.has(controller)) throw failure('ENOENT');
      values.set(path, text);
    },
    make(path) {
      if (isReadOnly) throw failure('EROFS');
      find(dirname(path));
      if (!groups.has(path)) groups.set(path, { processes: new Set(), passed: new Set() });
    },
    remove(path) {
      if (find(path).processes.size > 0 || below(path).length > 0) throw failure('EBUSY');
      groups.delete(path);
    },
  };
  return {
    files,
    groups: () => [...groups.keys()],
    groupOf: (pid) => [...groups].find(([, group]) => group.processes.has(pid))?.[0],
    valueOf: (path) => values.get(path),
    end: (pid) => groups.forEach((group) => void group.processes.delete(pid)),
  };
}

const openIn = (tree: Tree): CgroupOutcome =>
  openCgroup({ files: tree.files, root: ROOT, pid: EDGE, memoryBytesMax: 1_000, pidsMax: 20 });

const reasonOf = (tree: Tree): string | null => {
  const outcome = openIn(tree);
  return outcome.ok ? null : outcome.reason;
};

describe('The cgroup of an engine', () => {
  test('bounds memory and processes of the engine, kills one worker and not all, and leaves nothing', () => {
    const tree = treeOf({});
    const outcome = openIn(tree);
    if (!outcome.ok) throw new Error(outcome.reason);
    const engine = join(OWN, 'engine');
    expect(tree.valueOf(join(engine, 'memory.max'))).toBe('1000');
    expect(tree.valueOf(join(engine, 'memory.oom.group'))).toBe('0');
    expect(tree.valueOf(join(engine, 'pids.max'))).toBe('20');
    expect(outcome.cgroup.add(ENGINE)).toBe(true);
    expect([tree.groupOf(ENGINE), tree.groupOf(EDGE)]).toEqual([engine, join(OWN, 'edge')]);
    tree.end(ENGINE);
    outcome.cgroup.close();
    expect(tree.groups()).toEqual([OWN]);
    expect(tree.groupOf(EDGE)).toBe(OWN);
    expect(openIn(tree).ok).toBe(true);
  });

  test('says when the kernel refuses a process', () => {
    const tree = treeOf({});
    const outcome = openIn(tree);
    if (!outcome.ok) throw new Error(outcome.reason);
    tree.files.write = () => {
      throw failure('ESRCH');
    };
    expect(outcome.cgroup.add(ENGINE)).toBe(false);
  });

  test.each<[what: string, given: Parameters<typeof treeOf>[0], reason: string]>([
    ['there is only version 1', { self: '4:memory:/\n' }, 'this process is in no cgroup v2'],
    ['its directory is not there', { self: '0::/elsewhere\n' }, 'this process is in no cgroup v2'],
    ['there is no controller', { controllers: '' }, 'its cgroup v2 has no controller for memory and pids'],
    ['one controller is missing', { controllers: 'cpu memory' }, 'its cgroup v2 has no controller for pids'],
    ['others share it', { processes: [EDGE, 7] }, 'other processes are in its cgroup'],
    ['it may not write', { isReadOnly: true }, 'its cgroup was not delegated to it (EROFS)'],
  ])('is not made, and nothing of it is left, where %s', (_, given, reason) => {
    const tree = treeOf(given);
    expect(reasonOf(tree)).toBe(reason);
    expect(tree.groups()).toEqual([OWN]);
    expect(tree.groupOf(EDGE)).toBe(OWN);
  });

  test('is found where version 2 is mounted below version 1', () => {
    const tree = treeOf({});
    const outcome = openCgroup({
      files: {
        ...tree.files,
        read: (path) => {
          if (path.startsWith('/cgroup/edge.service')) throw failure('ENOENT');
          return tree.files.read(path.replace('/hybrid/unified', ROOT));
        },
        write: (path, text) => tree.files.write(path.replace('/hybrid/unified', ROOT), text),
        make: (path) => tree.files.make(path.replace('/hybrid/unified', ROOT)),
      },
      root: '/hybrid',
      pid: EDGE,
      memoryBytesMax: 1,
      pidsMax: 1,
    });
    expect(outcome.ok).toBe(true);
  });
});
