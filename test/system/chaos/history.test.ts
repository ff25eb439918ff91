// Clients that repeat what was not answered, while the control plane is killed at any time: all is done once.
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { type Directory, temporaryDirectory, until } from '../harness.ts';
import { createPlane, type Plane, type Reply, ROUNDS } from './plane.ts';

const CLIENTS = 4;
const KILLS = 3 * ROUNDS;
/** Mutations that are acknowledged between two kills. */
const ACKNOWLEDGED_PER_KILL = 15;
const TEST_MS = 60_000 * Math.max(1, ROUNDS / 4);

let directory: Directory;
let plane: Plane;

beforeAll(async () => {
  directory = temporaryDirectory();
  plane = await createPlane(directory.path);
  await plane.open();
}, TEST_MS);

afterAll(async () => {
  await plane.close();
  directory[Symbol.dispose]();
}, TEST_MS);

/** Repeats a request under one key until it is answered; a control plane that is gone does not answer. */
async function persist(
  method: string,
  path: string,
  options: { key: string; body?: unknown },
): Promise<Reply> {
  return until(`${method} ${path} is answered`, () => plane.send(method, path, options).catch(() => null));
}

async function auditOf(): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  let cursor: string | null = '';
  while (cursor !== null) {
    const query: string = cursor === '' ? '' : `&cursor=${cursor}`;
    const { json } = await plane.send('GET', `/audit?limit=200${query}`);
    const page = json as { items: { action: string; target: string }[]; next_cursor: string | null };
    for (const { action, target } of page.items) {
      const key = `${action} ${target}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    cursor = page.next_cursor;
  }
  return counts;
}

test(
  `${KILLS} kills under load leave every mutation done once, with the answer that its client got`,
  async () => {
    const created: string[] = [];
    const removed: string[] = [];
    const wrong: string[] = [];
    let isOver = false;
    const acknowledged = (): number => created.length + removed.length;
    const work = async (client: number): Promise<void> => {
      for (let at = 0; !isOver; at += 1) {
        const name = `f-${client}-${at}`;
        const made = await persist('POST', '/functions', { key: `c-${name}`, body: { name } });
        if (made.status !== 201) wrong.push(`create ${made.status} ${made.text}`);
        const { id } = (made.json as { function: { id: string } }).function;
        created.push(id);
        if (at % 2 === 0) continue;
        const gone = await persist('DELETE', `/functions/${id}`, { key: `d-${name}` });
        if (gone.status !== 204) wrong.push(`delete ${gone.status} ${gone.text}`);
        removed.push(id);
      }
    };
    const clients = Array.from({ length: CLIENTS }, (_, client) => work(client));
    for (let kill = 0; kill < KILLS; kill += 1) {
      const goal = acknowledged() + ACKNOWLEDGED_PER_KILL;
      await until('clients make progress', () => acknowledged() >= goal);
      plane.running().signal('SIGKILL');
      await plane.reopenAfterDeath();
    }
    isOver = true;
    await Promise.all(clients);
    const audit = await auditOf();
    const counts = (action: string, ids: string[]): number[] =>
      ids.map((id) => audit.get(`${action} ${id}`) ?? 0);
    expect(wrong).toEqual([]);
    expect(new Set(created).size).toBe(created.length);
    expect(new Set(counts('function.create', created))).toEqual(new Set([1]));
    expect(new Set(counts('function.delete', removed))).toEqual(new Set([1]));
    const made = [...audit.keys()].filter((key) => key.startsWith('function.create '));
    expect(made.length).toBe(created.length);
  },
  TEST_MS,
);
