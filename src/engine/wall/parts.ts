// The parts of the wall as the zygote reports them, from numbers to words; pure.
import { getSystemErrorMap } from 'node:util';
import { WALL, WALL_STATES, type WallPart, type WallPartName, type WallReport } from '../../model/wall.ts';

/** By number of `enum edge_wall_part`: what the zygote tries. */
export const PARTS: readonly WallPartName[] = [
  'seccomp',
  'landlock',
  'compile_files',
  'network_namespace',
  'ipc_namespace',
  'mount_namespace',
  'pid_namespace',
  'user',
  'capabilities',
  'no_new_privs',
  'dumpable',
  'memory',
  'oom_score',
];

/** By number of `enum edge_wall_state`. */
export const STATES = WALL_STATES;

/** Null for a part or a state that does not exist. */
export function decodePart(found: { part: number; state: number; reason: number }): WallPart | null {
  const part = PARTS[found.part];
  const state = STATES[found.state];
  if (part === undefined || state === undefined) return null;
  return { part, state, reason: reasonOf(part, state, found.reason) };
}

function reasonOf(part: WallPartName, state: WallPart['state'], reason: number): string | null {
  if (state === 'not_applicable') return WALL[part].instead;
  if (state === 'missing') return reason === 0 ? 'tried, and it did not hold' : errorText(reason);
  return part === 'landlock' ? `version ${reason}` : null;
}

function errorText(errno: number): string {
  const [name, text] = getSystemErrorMap().get(-errno) ?? [];
  return name === undefined || text === undefined ? `error ${errno}` : `${text} (${name})`;
}

/** With the part that the edge tries. */
const ALL: readonly WallPartName[] = [...PARTS, 'cgroup'];

export type WallCollector = {
  /** The first report of a part counts. */
  add(part: WallPart): void;
  isComplete(): boolean;
};

/** Puts parts together; `complete` is called once, with the whole, when there is one of each. */
export function createWallCollector(complete: (report: WallReport) => void): WallCollector {
  const found = new Map<string, WallPart>();
  const isComplete = (): boolean => found.size === ALL.length;
  return {
    isComplete,
    add(part) {
      if (found.has(part.part)) return;
      found.set(part.part, part);
      if (isComplete()) complete(ALL.flatMap((name) => found.get(name) ?? []));
    },
  };
}
