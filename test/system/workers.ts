// Which workers of an engine process run guest code at this moment, as /proc shows them.
import { readFileSync } from 'node:fs';
import { childrenOf, until } from './harness.ts';

/** SIGKILL in the masks of /proc/PID/status, and PF_EXITING in the flags of /proc/PID/stat. */
const SIGKILL_BIT = 0x100;
const EXITING_BIT = 0x4;

/** A worker that `dies` can run no more code, also while it waits for the processor to be reaped. */
type State = 'runs' | 'waits' | 'dies' | 'gone';

function stateOf(pid: number): State {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, , , , , , flags] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const pending = [...status.matchAll(/^(?:Sig|Shd)Pnd:\s+\w*(\w{4})$/gm)];
    const isKilled = pending.some(([, mask]) => (Number.parseInt(mask ?? '0', 16) & SIGKILL_BIT) !== 0);
    if (isKilled || (Number(flags) & EXITING_BIT) !== 0) return 'dies';
    return state === 'R' ? 'runs' : 'waits';
  } catch {
    return 'gone';
  }
}

/** Children of the zygote that run guest code, or could. */
export const running = (zygote: number): number[] =>
  childrenOf(zygote).filter((pid) => stateOf(pid) === 'runs');

/**
 * Those of `pids` that ran guest code: a worker that was only late to start, on a busy machine, goes on to wait
 * for its first request; one that ran a request past its deadline is killed later, or runs on.
 */
export async function ranOn(pids: readonly number[]): Promise<number[]> {
  const ended = await Promise.all(
    pids.map(async (pid) => {
      const state = await until('it waits or is gone', () => {
        const now = stateOf(pid);
        return now === 'runs' ? null : now;
      }).catch(() => 'runs' as const);
      return { pid, state };
    }),
  );
  return ended.filter(({ state }) => state !== 'waits').map(({ pid }) => pid);
}
