// The walls hold for every user and on every kernel: attacks, a storm of kills, and nothing is left behind.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { ERRORS } from '../../src/base/errors.ts';
import { KILLED_CALLS, OTHER_ATTACKS } from '../engine/hostile/attacks.ts';
import { isRunning, until } from '../system/harness.ts';
import { ranOn, running } from '../system/workers.ts';
import { attack, type Cell, CELLS, type CellKind, type Figures, openCell, remove } from './cell.ts';
import { buildLaunched, type Built } from './executable.ts';
import { answerOf } from './probe.ts';
import { scale } from './scale.ts';

const LOOP_MS = 1_000;
/** Most workers have begun a request by then. */
const SNAPSHOT_MS = 800;
const GONE_MS = 100;
/** What the edge and the engine process may keep of everything that is gone. */
const GROWTH_MB_MAX = 64;
const ZYGOTE_GROWTH_MB_MAX = 8;
const FILES_MAX = 4;
const CELL_MS = 240_000;
/** Exit codes of attacks.h and hostile_worker.c for an attack that reached what it may not, or saw a neighbour. */
const BROKEN_EXITS = [77, 80];
const ATTACKS = [...KILLED_CALLS, ...OTHER_ATTACKS];

/** Workers so far that the kernel ended for a forbidden call. */
const refusals = (cell: Cell): number => cell.up.output().split('"how":"signalled","value":31,').length;

const isRoot = process.geteuid?.() === 0;
const cells = CELLS.filter(({ user, landlock }) => {
  if (user === 'root' && !isRoot) return false;
  return scale.hasAttacks || (user === 'ordinary' && landlock === 'without');
});
let built: Built;

beforeAll(async () => {
  built = await buildLaunched(scale.hasAttacks ? 'hostile' : 'honest');
}, CELL_MS);
afterAll(() => built.close());

describe.each(cells.map((kind): [string, CellKind] => [`${kind.user}, ${kind.landlock} Landlock`, kind]))(
  'As %s',
  (_, kind) => {
    let cell: Cell;
    let before: Figures;

    beforeAll(async () => {
      cell = await openCell(built, kind);
      // The first storm brings the processes to the size that they keep.
      await storm(cell, scale.loops);
      before = await cell.settled();
    }, CELL_MS);
    afterAll(() => cell.close(), CELL_MS);

    test.each(scale.hasAttacks ? ATTACKS : [])(
      'a worker that does %s fails alone',
      async (name) => {
        const neighbour = cell.probe();
        const killedBefore = refusals(cell);
        const answers = await attack(cell, name);
        if (KILLED_CALLS.includes(name))
          await until('the kernel ended the worker', () => refusals(cell) > killedBefore);
        expect(await neighbour.stop()).toMatchObject({ wrong: [] });
        for (const answer of answers) {
          const [status, code] = answer.split(' ');
          expect(code === undefined ? status : ERRORS[code as keyof typeof ERRORS].status).toBe(
            code === undefined ? '200' : Number(status),
          );
        }
        for (const value of BROKEN_EXITS)
          expect(cell.up.output()).not.toContain(`"how":"exited","value":${value},`);
      },
      CELL_MS,
    );

    test(
      `${scale.loops} guests that loop at once are gone ${GONE_MS} ms after their deadline`,
      async () => {
        for (let round = 0; round < scale.rounds; round += 1) {
          const neighbour = cell.probe();
          const { answers, begun, left } = await storm(cell, scale.loops);
          const { wrong } = await neighbour.stop();
          expect(new Set(answers)).toEqual(new Set(['504']));
          expect(begun).toBeGreaterThan(scale.loops / 4);
          expect({ left, wrong }).toEqual({ left: [], wrong: [] });
        }
      },
      CELL_MS,
    );

    test(
      'memory and descriptors are those of before, and so are the processes',
      async () => {
        const after = await cell.settled();
        expect(after.files - before.files).toBeLessThanOrEqual(FILES_MAX);
        expect(after.zygoteFiles).toBeLessThanOrEqual(before.zygoteFiles);
        expect(after.mb - before.mb).toBeLessThan(GROWTH_MB_MAX);
        expect(after.zygoteMb - before.zygoteMb).toBeLessThan(ZYGOTE_GROWTH_MB_MAX);
        expect(isRunning(cell.up.pid)).toBe(true);
        expect(await cell.up.zygote()).toBe(cell.zygote);
      },
      CELL_MS,
    );
  },
);

/** As many requests at once to a function that loops; `left` burn on after the last answer. */
async function storm(
  cell: Cell,
  loops: number,
): Promise<{ answers: string[]; begun: number; left: number[] }> {
  const deployed = await cell.deploy('loop', 'hostile/loop-forever.wasm', { max_execution_ms: LOOP_MS });
  const ask = async (): Promise<string> =>
    (await answerOf(cell.up.publicUrl, { host: deployed.host })).slice(0, 3);
  const answers = Promise.all(Array.from({ length: loops }, ask));
  await Bun.sleep(SNAPSHOT_MS);
  const begun = new Set(running(cell.zygote));
  const ended = await answers;
  await Bun.sleep(GONE_MS);
  const left = await ranOn(running(cell.zygote).filter((pid) => begun.has(pid)));
  await remove(cell, deployed);
  return { answers: ended, begun: begun.size, left };
}
