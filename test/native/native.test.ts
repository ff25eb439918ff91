// Drives the native code with C programs: what a lying worker gets from the ring, and what a sandbox stops.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMPILE_FLAGS, findCompiler } from '../../native/build/cc.ts';
import { mustRun } from '../../native/build/shell.ts';

const NATIVE = join(import.meta.dir, '../../native');
const RING_SOURCES = ['ring.c', 'ring_command.c', 'ring_handle.c', 'ring_memory.c', 'ring_listener.c'];
const dir = mkdtempSync(join(tmpdir(), 'edge-native-'));

beforeAll(async () => {
  const { command } = await findCompiler(process.env['CC']);
  const programs = {
    ring_check: RING_SOURCES,
    ring_command_check: RING_SOURCES,
    files_check: ['files.c', 'seccomp.c'],
    seccomp_check: ['seccomp.c'],
    sandbox_check: ['namespace.c', 'sandbox.c'],
  };
  for (const [name, sources] of Object.entries(programs)) {
    const paths = [join(import.meta.dir, `${name}.c`), ...sources.map((source) => join(NATIVE, source))];
    const output = join(dir, name);
    await mustRun(`${name}.c does not compile.`, [command, ...COMPILE_FLAGS, ...paths, '-o', output]);
  }
}, 60_000);

afterAll(() => rm(dir, { recursive: true }));

type Ended = { exitCode: number | null; signal: string | null; text: string };

function run(name: string, ...rest: readonly string[]): Ended {
  const ended = Bun.spawnSync([join(dir, name), ...rest], { stdout: 'ignore', stderr: 'pipe' });
  const signal = ended.signalCode ?? null;
  return {
    exitCode: ended.exitCode,
    signal: signal === null ? null : String(signal),
    text: ended.stderr.toString(),
  };
}

function listOf(name: string): string[] {
  const { stdout } = Bun.spawnSync([join(dir, name), 'list'], { stderr: 'inherit' });
  return stdout.toString().trim().split('\n');
}

describe('The ring', () => {
  test.each([
    ['geometry', 'has its parts where both sides expect them, and refuses sizes that do not fit'],
    ['answer', 'hands out an answer, and takes the next request after it was released'],
    ['once', 'hands out each start and each answer once'],
    ['generation', 'takes nothing from another generation'],
    ['unasked', 'takes nothing that the edge did not ask for, whatever the done bits and states say'],
    ['logged', 'shows the log of a request without an answer, never that of an earlier one'],
    ['start_log', 'shows the log of a start that has not succeeded, until its worker is reaped'],
    ['lengths', 'marks a record whose lengths do not fit the slot'],
    ['post', 'refuses a request that does not fit or comes at the wrong time'],
    ['withdraw', 'takes back a request that the worker has not begun, and no other'],
    ['waiting', 'wakes a worker that waits, and no other'],
    ['many', 'leaves what exceeds one drain for the next, and sleeps only when nothing is left'],
    ['pages', 'gives back the pages of large bodies, and all pages of a free slot'],
    ['excess', 'finds memory that no request of a worker needs'],
    ['sleeping', 'is woken by a worker whatever that did to the flag before'],
  ])('%s: %s', (name) => {
    expect(run('ring_check', name)).toEqual({ exitCode: 0, signal: null, text: '' });
  });
});

describe('The edge and its zygote', () => {
  test.each([
    ['code', 'seals code'],
    ['command', 'sends whole commands, and never waits for the zygote'],
    ['handle', 'kills a worker through its pidfd while no command gets through, and keeps no other pidfd'],
    ['cancel', 'kills a compile in the same way, and gives the pidfds back with the command socket'],
    ['apart', 'gives each worker memory of its own, which is gone with it'],
  ])('%s: the edge %s', (name) => {
    expect(run('ring_command_check', name)).toEqual({ exitCode: 0, signal: null, text: '' });
  });
});

describe('A child in its sandbox', () => {
  /** A directory with the file `given`, beside a file `outside`; every user may read and write all of it. */
  const place = (): { inner: string; outer: string } => {
    const outer = mkdtempSync(join(dir, 'place-'));
    const inner = join(outer, 'inner');
    mkdirSync(inner);
    for (const path of [join(inner, 'given'), join(outer, 'outside')])
      writeFileSync(path, 'text', { mode: 0o666 });
    for (const path of [dir, outer, inner]) chmodSync(path, 0o777);
    return { inner, outer };
  };
  const attempt = (what: string, { inner } = place()): number | null =>
    run('sandbox_check', 'try', inner, what).exitCode;
  /** Linux has Landlock from 5.13 on; on an older kernel only the filters of system calls guard the files. */
  const landlock = (): number => run('sandbox_check', 'version').exitCode ?? 0;
  const SCOPES_SINCE = 6;
  const EACCES = 13;
  const EPERM = 1;
  const EXDEV = 18;

  test.each([['nothing'], ['signal itself']])('may: %s', (what) => {
    expect(attempt(what)).toBe(0);
  });

  test.each([['read inside'], ['write inside'], ['read outside'], ['read system'], ['list']])(
    'may not: %s',
    (what) => {
      expect(attempt(what)).toBe(landlock() > 0 ? EACCES : 0);
    },
  );

  test.each([['remove outside'], ['move out']])('may not: %s', (what) => {
    const where = place();
    const exitCode = attempt(what, where);
    if (landlock() === 0) return expect(exitCode).toBe(0);
    expect([EACCES, EXDEV]).toContain(exitCode ?? 0);
    expect(existsSync(join(where.outer, 'outside'))).toBe(true);
    expect(existsSync(join(where.inner, 'given'))).toBe(true);
  });

  test.each([['signal'], ['signal by descriptor'], ['connect']])(
    'reaches no process of the same user: %s',
    (what) => {
      expect(attempt(what)).toBe(landlock() >= SCOPES_SINCE ? EPERM : 0);
    },
  );
});

describe('The process namespace of a compile child', () => {
  const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
  const users: [string, string[]][] = [['this user', []]];
  if (process.getuid?.() === 0) users.push(['an ordinary user', asNobody]);

  describe.each(users)('of %s', (_, prefix) => {
    const enter = (what: string): number | null => {
      chmodSync(dir, 0o755);
      return Bun.spawnSync([...prefix, join(dir, 'sandbox_check'), what]).exitCode;
    };
    /** The kernel or the container may allow none, and then no compile child has one. */
    const flags = prefix.length === 0 && process.getuid?.() === 0 ? '-pf' : '-Upf';
    const isAllowed = Bun.spawnSync([...prefix, 'unshare', flags, 'true']).exitCode === 0;

    test.each([
      ['apart', 'has that child as its first process'],
      ['orphan', 'tells it when its parent was faster to end'],
      ['heir', 'ends with the zygote'],
    ])('%s: %s', (what) => {
      expect(enter(what) === 0).toBe(isAllowed);
    });
  });
});

const EFAULT = 14;
const EINVAL = 22;
const ENOMEM = 12;
const ENOTTY = 25;
const EAGAIN = 11;

type Answers = Readonly<Record<string, number>>;

/** What every filter lets through or answers itself, with the errno that comes of it. */
const CHILD: Answers = {
  clock: 0,
  complain: 0,
  forget: 0,
  'forget the name': EINVAL,
  getrandom: 0,
  map: 0,
  'map over': 0,
  'map near the name': 0,
  unmap: 0,
  protect: 0,
  reallocate: 0,
  reserve: 0,
  resolution: 0,
  sleep: 0,
  wait: EAGAIN,
  'wait in private': EAGAIN,
  wake: 0,
  'wake in private': 0,
  'double a mapping': ENOMEM,
  'move a mapping': ENOMEM,
  'map droppable': EINVAL,
  'punch a hole': EINVAL,
  fill: EINVAL,
  'page out': EINVAL,
};
const WORKER: Answers = { ...CHILD, send: 0 };

const FILTERS: Readonly<Record<string, Answers>> = {
  load: { ...WORKER, 'protect executable': 0, filter: EFAULT },
  run: WORKER,
  compile: {
    ...CHILD,
    'close on exec': 0,
    flags: 0,
    'is terminal': ENOTTY,
    limits: 0,
    'map file': 0,
    'map output': 0,
    processors: 0,
    read: 0,
    'write elsewhere': 0,
  },
};

describe('The files of a compile child', () => {
  test.each([
    ['missing', 'are not there before they are made'],
    ['result', 'are written, read, renamed and removed as a linker does'],
    ['exclusive', 'are made anew only once'],
    ['third', 'are two, whatever their names are'],
    ['outside', 'are no files of this machine'],
    ['long', 'have short names'],
    ['unnamed', 'are no result under a temporary name'],
    ['handlers', 'are answered whatever handler LLVM sets'],
  ])('%s: %s', (name) => {
    expect(run('files_check', name)).toEqual({ exitCode: 0, signal: null, text: '' });
  });

  test('are all that it may reach by a path', () => {
    expect(run('files_check', 'link')).toMatchObject({ signal: 'SIGSYS' });
  });
});

describe.each(Object.entries(FILTERS))('The filter %s', (filter, answers) => {
  test.each(Object.entries(answers))('goes on after: %s', (name, exitCode) => {
    expect(run('seccomp_check', filter, name)).toMatchObject({ exitCode, signal: null });
  });

  test('lets the process abort itself', () => {
    expect(run('seccomp_check', filter, 'abort')).toMatchObject({ signal: 'SIGABRT' });
  });

  test('ends the process at everything else', () => {
    const names = listOf('seccomp_check').filter((name) => name !== 'abort' && !(name in answers));
    const ends = names.map((name) => [name, run('seccomp_check', filter, name).signal]);
    expect(ends.length).toBeGreaterThan(80);
    expect(ends.filter(([, signal]) => signal !== 'SIGSYS')).toEqual([]);
  });
});
