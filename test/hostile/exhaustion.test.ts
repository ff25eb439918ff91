// A guest that exhausts its stack or its memory dies alone, whether it is compiled or interpreted.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runAtOnce } from '../../src/base/concurrency.ts';
import { stripCustomSections } from '../../src/model/wasm/strip.ts';
import {
  childrenOf,
  codeOf,
  type Guest,
  openTestEngine,
  type TestEngine,
  textOf,
} from '../engine/harness.ts';
import { interpret } from '../engine/interpret.ts';
import { readGuest, readGuestCases, type GuestCase } from '../fixtures/manifest.ts';
import { scale } from './scale.ts';

const DEADLINE_MS = 300;
const FILES = ['exhaustion', 'exhaustion-frame', 'exhaustion-start'].map((name) => `hostile/${name}.wasm`);
const cases = await readGuestCases();

/** An engine that has its own directory, so that it knows this module only. */
async function openWith(
  file: string,
  execution: 'compiled' | 'interpreted',
): Promise<{ host: TestEngine; guest: Guest; dir: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'edge-test-'));
  const settings = { max_execution_ms: DEADLINE_MS };
  const open = async (): Promise<{ host: TestEngine; guest: Guest }> => {
    const host = await openTestEngine({ dir, limits: { poolWorkersMin: 0, poolWorkersMax: 1 } });
    await host.engine.ready();
    return { host, guest: await host.openGuest(file, settings) };
  };
  const first = await open();
  if (execution === 'compiled' || first.guest.code.execution === 'interpreter') return { ...first, dir };
  await first.host.close();
  await interpret(runAtOnce(stripCustomSections(await readGuest(file))), dir);
  const second = await open();
  expect(second.guest.code.execution).toBe('interpreter');
  return { ...second, dir };
}

/** What the manifest allows, as codes; `answer` for 200. */
const allowed = ({ answer, answer_any: any }: GuestCase): string[] =>
  (any ?? (answer === null ? [] : [answer])).map(({ code }) => code ?? 'answer');

describe.each(FILES)('%s', (file) => {
  describe.each(['compiled', 'interpreted'] as const)('%s', (execution) => {
    let opened: Awaited<ReturnType<typeof openWith>>;
    let neighbour: Guest;
    let neighbourPid = 0;
    let enginePid = 0;

    beforeAll(async () => {
      opened = await openWith(file, execution);
      const { host } = opened;
      neighbour = await host.openGuest('hello/hello-c.wasm');
      expect(await neighbour.pool.warm(1)).toEqual({ ok: true });
      enginePid = host.engine.stats().enginePid ?? 0;
      neighbourPid = childrenOf(enginePid)[0] ?? 0;
    });
    afterAll(async () => {
      await opened.host.close();
      await rm(opened.dir, { recursive: true });
    });

    const chosen = cases.filter((guest) => guest.file === file).filter((_, at) => at % scale.caseStep === 0);

    test.each(chosen.map((guest) => [guest.what, guest] as const))('%s', async (_, guest) => {
      const { host } = opened;
      const ended = host.invoke(opened.guest.pool, { target: guest.request?.path ?? '/' }, DEADLINE_MS);
      expect(textOf(await host.invoke(neighbour.pool))).toContain('Hello');
      expect(allowed(guest)).toContain(codeOf(await ended));
      expect(textOf(await host.invoke(neighbour.pool))).toContain('Hello');
      expect(childrenOf(enginePid)).toContain(neighbourPid);
      expect(host.engine.stats()).toMatchObject({ enginePid, restarts: 0 });
    });
  });
});
