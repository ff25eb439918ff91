// A neighbour that is asked again and again while something else is under attack.

import { openFiles } from '../bench/proc.ts';

const PAUSE_MS = 5;
/** Looks at the descriptors of a process, of which some are open for a moment only. */
const LOOKS = 10;
const KEPT_MAX = 20;

export type Probed = { answers: number; wrong: string[] };

/** Asks until it is stopped; `isRight` judges each answer. A wrong one is kept as text, up to a number. */
export function probe(
  ask: () => Promise<string>,
  isRight: (answer: string) => boolean,
): { stop(): Promise<Probed> } {
  const probed: Probed = { answers: 0, wrong: [] };
  let running = true;
  const loop = async (): Promise<void> => {
    while (running) {
      const answer = await ask().catch((failure: unknown) => String(failure));
      probed.answers += 1;
      if (!isRight(answer) && probed.wrong.length < KEPT_MAX) probed.wrong.push(answer.slice(0, 300));
      await Bun.sleep(PAUSE_MS);
    }
  };
  const asked = loop();
  return {
    async stop() {
      running = false;
      await asked;
      return probed;
    },
  };
}

/** The status and the body of a GET, as one text. The connection is closed: it is no descriptor of the edge. */
export async function answerOf(url: string, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(url, { headers, keepalive: false });
  return `${response.status} ${await response.text()}`;
}

/** The descriptors that a process keeps. */
export async function fewestFiles(pid: number): Promise<number> {
  let fewest = openFiles(pid);
  for (let looks = 1; looks < LOOKS; looks += 1) {
    await Bun.sleep(PAUSE_MS);
    fewest = Math.min(fewest, openFiles(pid));
  }
  return fewest;
}
