// A neighbour that is asked again and again while something else is under attack.

const PAUSE_MS = 5;
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
