// Weaknesses that are planted in the kernel as the zygote sees it, and what it finds of them by trying.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chmodSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMPILE_FLAGS, findCompiler } from '../../native/build/cc.ts';
import { mustRun } from '../../native/build/shell.ts';
import { PARTS, STATES } from '../../src/engine/wall/parts.ts';

const { EINVAL, ENOSYS, EPERM } = constants.errno;
const NATIVE = join(import.meta.dir, '../../native');
const NOBODY = 65_534;
const dir = mkdtempSync(join(tmpdir(), 'edge-wall-'));
const isRoot = process.getuid?.() === 0;

beforeAll(async () => {
  const { command } = await findCompiler(process.env['CC']);
  const sources = ['namespace.c', 'sandbox.c', 'seccomp.c', 'wall.c'].map((name) => join(NATIVE, name));
  const paths = [join(import.meta.dir, 'wall_check.c'), ...sources];
  const output = join(dir, 'wall_check');
  await mustRun('wall_check.c does not compile.', [command, ...COMPILE_FLAGS, ...paths, '-o', output]);
  chmodSync(dir, 0o755);
}, 60_000);

afterAll(() => rm(dir, { recursive: true }));

type Wall = { exitCode: number | null; missing: Record<string, number>; held: string[]; verdict: string };

/** Tries the wall with these weaknesses, as this user or with another. */
function tried(weaknesses: readonly string[], before: readonly string[] = []): Wall {
  const command = [...before, join(dir, 'wall_check'), ...weaknesses];
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { stdout: 'pipe', stderr: 'pipe' });
  expect(stderr.toString()).toBe('');
  const lines = stdout.toString().trim().split('\n');
  const verdict = lines.pop() ?? '';
  const found = lines.map((line) => {
    const [part = 0, state = 0, reason = 0] = line.split(' ').map(Number);
    return { part: PARTS[part] ?? '', state: STATES[state], reason };
  });
  const missing = found.filter(({ state }) => state === 'missing').map(({ part, reason }) => [part, reason]);
  const held = found.filter(({ state }) => state === 'held').map(({ part }) => part);
  return { exitCode, missing: Object.fromEntries(missing) as Record<string, number>, held, verdict };
}

/** What this machine lacks without a planted weakness: a container may have taken some of it. */
const machine = (): Wall => tried([]);

describe.skipIf(!isRoot)('The wall of an engine that runs as root', () => {
  const NOTHING_FAILED = 0;
  const namespaces = (reason: number): Record<string, number> => ({
    network_namespace: reason,
    ipc_namespace: reason,
    mount_namespace: reason,
  });

  test('holds where nothing was planted, as far as this machine has it', () => {
    const { exitCode, held, verdict } = machine();
    expect({ exitCode, verdict }).toEqual({ exitCode: 0, verdict: 'holds' });
    const always = ['seccomp', 'capabilities', 'no_new_privs', 'dumpable', 'memory'];
    expect(held).toEqual(expect.arrayContaining(always));
  });

  test.each<[weaknesses: string[], missing: Record<string, number>, verdict: string]>([
    [['no seccomp'], { seccomp: EINVAL }, 'weak'],
    [['pretended seccomp'], { seccomp: NOTHING_FAILED }, 'weak'],
    [['no landlock'], { landlock: ENOSYS }, 'holds'],
    [['pretended landlock'], { landlock: NOTHING_FAILED }, 'holds'],
    [['no landlock', 'no user'], { landlock: ENOSYS, compile_files: ENOSYS, user: EINVAL }, 'holds'],
    [['no process namespace'], { pid_namespace: EPERM }, 'holds'],
    [['pretended namespaces'], namespaces(NOTHING_FAILED), 'holds'],
    [['no user'], { user: EINVAL }, 'holds'],
    [['no CAP_SETUID'], { user: EPERM }, 'holds'],
    [['pretended user'], { user: EPERM }, 'holds'],
    [['no user', 'pretended capset'], { user: EINVAL, capabilities: NOTHING_FAILED }, 'weak'],
    [['pretended bounding set'], { capabilities: NOTHING_FAILED }, 'weak'],
    [['no CAP_SETGID', 'pretended dumpable'], { user: EPERM, dumpable: NOTHING_FAILED }, 'holds'],
    [['pretended data limit'], { memory: NOTHING_FAILED }, 'weak'],
    [['pretended munmap'], { memory: NOTHING_FAILED }, 'weak'],
    [['no score'], { oom_score: NOTHING_FAILED }, 'holds'],
  ])('shows what is missing by trying: %j', (weaknesses, missing, verdict) => {
    const before = machine();
    const found = tried(weaknesses);
    expect(found.exitCode).toBe(0);
    expect(found.missing).toEqual({ ...before.missing, ...missing });
    expect(found.verdict).toBe(verdict);
  });

  test('shows no_new_privs as missing, and with it the filter that needs it', () => {
    const { missing, verdict } = tried(['no landlock', 'pretended no_new_privs']);
    expect(Object.keys(missing)).toEqual(expect.arrayContaining(['no_new_privs', 'seccomp']));
    expect(verdict).toBe('weak');
  });

  test('is refused where a child that gave up root could not be killed', () => {
    expect(tried(['no CAP_KILL']).exitCode).toBe('user' in machine().missing ? 0 : EPERM);
  });

  test('is refused where a child cannot enter its sandbox', () => {
    expect(tried(['refused limits']).exitCode).toBe(EPERM);
  });
});

describe('The wall of an engine that runs as an ordinary user', () => {
  const before = isRoot ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'] : [];

  test('has what no user lacks, and no namespace or user of its own', () => {
    const { exitCode, held, missing, verdict } = tried([], before);
    expect({ exitCode, verdict }).toEqual({ exitCode: 0, verdict: 'holds' });
    const always = ['seccomp', 'capabilities', 'no_new_privs', 'dumpable', 'memory'];
    expect(held).toEqual(expect.arrayContaining(always));
    expect(Object.keys(missing)).not.toContain('user');
    expect([...held, ...Object.keys(missing)]).not.toContain('network_namespace');
  });

  test('has no second wall of files around the compiler without Landlock', () => {
    expect(tried(['no landlock'], before).missing).toMatchObject({ landlock: ENOSYS, compile_files: ENOSYS });
  });

  test('loses capabilities that its service manager gave it', () => {
    if (!isRoot) return;
    const ambient = ['--inh-caps=+net_bind_service', '--ambient-caps=+net_bind_service'];
    expect(tried([], [...before, ...ambient]).held).toContain('capabilities');
    const kept = tried(['pretended capset'], [...before, ...ambient]);
    expect(kept.missing).toMatchObject({ capabilities: 0 });
  });
});
