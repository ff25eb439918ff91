// Named places in the code where a test stops, fails or kills the process; production has none of them.
import type { Log } from '../log.ts';

/** What a place is called, and what has happened when it is reached. */
const FAILPOINTS = {
  join_answered: 'a node has the answer to its join, and no file holds it yet',
  artifact_kept: 'the artifact is a file, and no row refers to it yet',
  mutation_done: 'the rows of a change are written, and nothing is committed',
  mutation_committed: 'a change is committed with its answer, and the answer is not sent',
} as const;

export type FailpointName = keyof typeof FAILPOINTS;

/** Handed to the code that has such places; `reach` returns at once unless a test has set the place. */
export type Failpoints = { reach(name: FailpointName): Promise<void> };

export const NO_FAILPOINTS: Failpoints = { reach: () => Promise.resolve() };

type Action = (name: FailpointName) => Promise<void>;

/**
 * From `NAME=ACTION` or `NAME=ACTION@N` (at the Nth time only), divided by commas; an action is `kill`
 * (SIGKILL), `hold` (for ever) or `fail:CODE` (an error with this code). Throws for anything else.
 */
export function createFailpoints(text: string, options: { log: Log }): Failpoints {
  const { log } = options;
  const left = new Map<FailpointName, { action: Action; times: number }>();
  for (const part of text.split(',')) {
    const [, name = '', word = '', times = '1'] = /^(\w+)=([\w:]+)(?:@(\d+))?$/.exec(part.trim()) ?? [];
    if (!isName(name)) throw new Error(`${JSON.stringify(part)} names no failpoint`);
    left.set(name, { action: actionOf(word), times: Number(times) });
  }
  log.warn('failpoints are set: this process is under test', { failpoints: text });
  return {
    async reach(name) {
      const set = left.get(name);
      if (set === undefined) return;
      set.times -= 1;
      if (set.times !== 0) return;
      log.warn('a failpoint is reached', { failpoint: name });
      await set.action(name);
    },
  };
}

function isName(name: string): name is FailpointName {
  return Object.hasOwn(FAILPOINTS, name);
}

function actionOf(word: string): Action {
  if (word === 'kill') return async () => void process.kill(process.pid, 'SIGKILL');
  if (word === 'hold') return () => new Promise(() => {});
  if (!word.startsWith('fail:')) throw new Error(`${JSON.stringify(word)} is no action of a failpoint`);
  const code = word.slice('fail:'.length);
  return async (name) => {
    throw Object.assign(new Error(`${code} at ${name}`), { code });
  };
}
