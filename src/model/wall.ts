// The wall around guests, part by part: what each keeps, what a machine without it can do, and the report.
import { type Static, Type } from '@sinclair/typebox';
import { WALL_BOUNDS } from '../base/limits/wall.ts';

type WallRow = {
  /** What holds while the part does, as a sentence without an end. */
  readonly keeps: string;
  /** No guest runs without it, unless the operator allows weak walls. */
  readonly isNecessary: boolean;
  /** What an operator does about a missing part. */
  readonly advice: string;
  /** What stands in its place where the part does not apply; empty where it always applies. */
  readonly instead: string;
};

const NAMESPACE_ADVICE = 'Start as root with CAP_SYS_ADMIN, or leave it: the other parts stand.';

/** Every part that this program tries, in the order in which it shows them. */
export const WALL = {
  seccomp: {
    keeps: 'a child makes only the system calls that its work needs',
    isNecessary: true,
    advice: 'Use a kernel with CONFIG_SECCOMP_FILTER, and a container runtime that allows seccomp(2).',
    instead: '',
  },
  landlock: {
    keeps: 'no path opens in a worker, whatever the filter lets through',
    isNecessary: false,
    advice: 'Use Linux 5.13 or newer with landlock enabled, and a container runtime that allows its calls.',
    instead: '',
  },
  compile_files: {
    keeps: 'more than the filter keeps a compiler that a module has taken over from files',
    isNecessary: false,
    advice: 'Enable Landlock, or start as root that may setuid; --allow-weak-walls compiles without.',
    instead: '',
  },
  network_namespace: {
    keeps: 'children share no network with the edge',
    isNecessary: false,
    advice: NAMESPACE_ADVICE,
    instead: 'only root has one to give; the filter of system calls gives a child no socket',
  },
  ipc_namespace: {
    keeps: 'children share no System V memory or queues with the edge',
    isNecessary: false,
    advice: NAMESPACE_ADVICE,
    instead: 'only root has one to give; the filter of system calls gives a child no such call',
  },
  mount_namespace: {
    keeps: 'children share no mounts with the edge',
    isNecessary: false,
    advice: NAMESPACE_ADVICE,
    instead: 'only root has one to give; the filter of system calls gives a child no mount',
  },
  pid_namespace: {
    keeps: 'a compiler that a module has taken over has no number for other processes',
    isNecessary: false,
    advice: 'Allow user namespaces (user.max_user_namespaces), or start as root with CAP_SYS_ADMIN.',
    instead: '',
  },
  user: {
    keeps: 'children are another user than the edge and cannot signal it',
    isNecessary: false,
    advice: 'Let root keep CAP_SETUID, CAP_SETGID and CAP_KILL, in a user namespace with more than one user.',
    instead: 'only root can change it; the filter of system calls lets a child signal no other process',
  },
  capabilities: {
    keeps: 'a child holds no right of root, and can get none',
    isNecessary: true,
    advice: 'Start as an ordinary user, or as root that may drop its capabilities (CAP_SETPCAP).',
    instead: '',
  },
  no_new_privs: {
    keeps: 'no program that a child could start gives it more rights',
    isNecessary: false,
    advice: 'Use a kernel and a container runtime that allow PR_SET_NO_NEW_PRIVS.',
    instead: '',
  },
  dumpable: {
    keeps: 'no other process of the user reads the memory of a child',
    isNecessary: false,
    advice: 'Use a kernel and a container runtime that allow PR_SET_DUMPABLE.',
    instead: '',
  },
  memory: {
    keeps: 'a child gets no more memory than its function may have',
    isNecessary: true,
    advice: 'Boot the kernel without ignore_rlimit_data, and mount /proc.',
    instead: '',
  },
  oom_score: {
    keeps: 'a machine short of memory ends children before it ends the edge',
    isNecessary: false,
    advice: 'Mount /proc so that the edge may write to it.',
    instead: '',
  },
  cgroup: {
    keeps: 'all children together have a bound on memory and processes',
    isNecessary: false,
    advice: 'Start it in a cgroup v2 of its own with memory and pids (systemd: Delegate=memory pids).',
    instead: '',
  },
} as const satisfies Record<string, WallRow>;

export type WallPartName = keyof typeof WALL;

/** One part as a node has tried it. A name that the control plane does not know comes from a newer node. */
export const WallPart = Type.Object(
  {
    part: Type.String({ pattern: '^[a-z][a-z_]{0,31}$' }),
    state: Type.Union([Type.Literal('held'), Type.Literal('missing'), Type.Literal('not_applicable')]),
    /** Why it is missing, what stands instead, or how much of it is held; one line. */
    reason: Type.Union([
      Type.String({ maxLength: WALL_BOUNDS.reasonLengthMax, pattern: '^[^\\u0000-\\u001f\\u007f]*$' }),
      Type.Null(),
    ]),
  },
  { additionalProperties: false },
);
export type WallPart = Static<typeof WallPart>;

export const WALL_STATES = ['held', 'missing', 'not_applicable'] as const satisfies WallPart['state'][];

/** Every part of one node. */
export const WallReport = Type.Array(WallPart, { maxItems: WALL_BOUNDS.partsMax });
export type WallReport = Static<typeof WallReport>;

/** Null for a part that this program does not know. */
export function wallRow(part: string): WallRow | null {
  return Object.hasOwn(WALL, part) ? WALL[part as WallPartName] : null;
}

export function missingParts(report: WallReport): WallPart[] {
  return report.filter(({ state }) => state === 'missing');
}

/** The missing parts without which no guest may run. */
export function necessaryMissing(report: WallReport): WallPart[] {
  return missingParts(report).filter(({ part }) => wallRow(part)?.isNecessary === true);
}

/** Whether a compiler that a module has taken over could reach no file of others. */
export function holdsCompiler(report: WallReport): boolean {
  return report.some(({ part, state }) => part === 'compile_files' && state === 'held');
}
