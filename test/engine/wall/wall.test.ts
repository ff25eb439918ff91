// The report of the wall: from numbers of the zygote to parts, to a refusal and to the log.
import { describe, expect, test } from 'bun:test';
import { constants } from 'node:os';
import { Value } from '@sinclair/typebox/value';
import { createSystemClock } from '../../../src/base/clock.ts';
import { WALL_BOUNDS } from '../../../src/base/limits/wall.ts';
import { createLog } from '../../../src/base/log.ts';
import { holdsCompiler, WALL, type WallPart, WallReport } from '../../../src/model/wall.ts';
import { createWallCollector, decodePart, PARTS, STATES } from '../../../src/engine/wall/parts.ts';
import { createWall, type EngineWall, refusalOf } from '../../../src/engine/wall/wall.ts';

const { ENOSYS, EPERM } = constants.errno;
const HELD = 0;
const MISSING = 1;
const NOT_APPLICABLE = 2;

const numberOf = (part: string): number => PARTS.findIndex((name) => name === part);

const ALL = [...PARTS, 'cgroup'] as const;

/** A report in which the parts of `changed` are in that state, and all others are held. */
function reportWith(changed: Readonly<Record<string, WallPart['state']>>): WallReport {
  return ALL.map((part) => {
    const state = changed[part] ?? 'held';
    return { part, state, reason: state === 'missing' ? 'it failed' : null };
  });
}

describe('A part of the wall', () => {
  test.each<[part: string, state: number, reason: number, shown: string | null]>([
    ['landlock', HELD, 7, 'version 7'],
    ['landlock', MISSING, ENOSYS, 'function not implemented (ENOSYS)'],
    ['user', MISSING, EPERM, 'operation not permitted (EPERM)'],
    ['memory', MISSING, 0, 'tried, and it did not hold'],
    ['memory', MISSING, 0xffff_ffff, 'error 4294967295'],
    ['seccomp', HELD, 0, null],
    ['user', NOT_APPLICABLE, 0, WALL.user.instead],
  ])('%s in state %d for %d says why', (part, state, reason, shown) => {
    expect(decodePart({ part: numberOf(part), state, reason })?.reason ?? null).toBe(shown);
  });

  test('that does not exist, or in a state that does not exist, is nobody’s', () => {
    expect(decodePart({ part: PARTS.length, state: HELD, reason: 0 })).toBe(null);
    expect(decodePart({ part: 0, state: STATES.length, reason: 0 })).toBe(null);
    expect(decodePart({ part: 0xffff_ffff, state: 0xffff_ffff, reason: 0 })).toBe(null);
  });

  test('fits the heartbeat whatever it says, and each has a row of its own', () => {
    for (const [part] of PARTS.entries()) {
      for (const [state] of STATES.entries()) {
        for (const reason of [0, 1, ENOSYS, 0xffff_ffff]) {
          expect(Value.Check(WallReport, [decodePart({ part, state, reason })])).toBe(true);
        }
      }
    }
    expect([...ALL].sort()).toEqual((Object.keys(WALL) as (keyof typeof WALL)[]).sort());
    expect(PARTS.length).toBeLessThan(WALL_BOUNDS.partsMax);
  });

  test('that never applies to some user says what stands instead', () => {
    for (const part of ['network_namespace', 'ipc_namespace', 'mount_namespace', 'user'] as const)
      expect(WALL[part].instead).toContain('filter');
  });
});

describe('The parts of a wall', () => {
  test('are complete with one of each; the first report of a part counts, and what comes later does not', () => {
    const reports: WallReport[] = [];
    const collector = createWallCollector((report) => void reports.push(report));
    const parts = reportWith({ memory: 'missing' }).toReversed();
    for (const part of parts.slice(1)) collector.add(part);
    for (const part of parts.slice(1)) collector.add({ ...part, state: 'held', reason: null });
    expect([reports.length, collector.isComplete()]).toEqual([0, false]);
    collector.add(parts[0] ?? { part: '', state: 'held', reason: null });
    collector.add({ part: 'memory', state: 'held', reason: null });
    expect(reports).toEqual([reportWith({ memory: 'missing' })]);
    expect(collector.isComplete()).toBe(true);
  });
});

describe('A wall', () => {
  test.each(['seccomp', 'capabilities', 'memory'])(
    'without %s lets no guest run unless that is allowed',
    (part) => {
      const report = reportWith({ [part]: 'missing' });
      const refusal = refusalOf(report, { allowsWeak: false });
      expect(refusal).toContain(`${part} (it failed)`);
      expect(refusal).toContain('`edge doctor`');
      expect(refusal).toContain('--allow-weak-walls');
      expect(refusalOf(report, { allowsWeak: true })).toBe(null);
    },
  );

  test('without any other part, or where one does not apply, lets guests run', () => {
    const others = ALL.filter((part) => !WALL[part].isNecessary);
    const report = reportWith(Object.fromEntries(others.map((part) => [part, 'missing'])));
    expect(refusalOf(report, { allowsWeak: false })).toBe(null);
    expect(refusalOf(reportWith({ user: 'not_applicable' }), { allowsWeak: false })).toBe(null);
  });

  test('holds a compiler only where its files were tried and held', () => {
    expect(holdsCompiler(reportWith({}))).toBe(true);
    expect(holdsCompiler(reportWith({ landlock: 'missing' }))).toBe(true);
    expect(holdsCompiler(reportWith({ compile_files: 'missing' }))).toBe(false);
    expect(holdsCompiler(reportWith({ compile_files: 'not_applicable' }))).toBe(false);
    expect(holdsCompiler([])).toBe(false);
  });
});

describe('The record of a wall', () => {
  const open = (): { lines: Record<string, unknown>[]; record: EngineWall } => {
    const lines: Record<string, unknown>[] = [];
    const write = (line: string): void => void lines.push(JSON.parse(line) as Record<string, unknown>);
    const log = createLog({ clock: createSystemClock(), write });
    return { lines, record: createWall({ log, allowsWeak: false, cgroup: { ok: false, reason: 'none' } }) };
  };

  test('logs one line for each missing part and one for the whole, and nothing for the same again', async () => {
    const { lines, record } = open();
    expect(record.latest()).toBe(null);
    const report = reportWith({ landlock: 'missing', user: 'missing', pid_namespace: 'not_applicable' });
    record.tried(report);
    record.tried(structuredClone(report));
    expect(lines.map(({ level, part }) => [level, part])).toEqual([
      ['warn', 'landlock'],
      ['warn', 'user'],
      ['info', undefined],
    ]);
    expect(lines[0]).toMatchObject({ reason: 'it failed', advice: WALL.landlock.advice });
    expect(lines[2]).toMatchObject({ missing: ['landlock', 'user'], not_applicable: ['pid_namespace'] });
    expect(await record.refusal()).toBe(null);
  });

  test('logs again what has changed, and keeps the latest', async () => {
    const { lines, record } = open();
    record.tried(reportWith({ landlock: 'missing' }));
    const count = lines.length;
    record.tried(reportWith({}));
    expect(lines).toHaveLength(count + 1);
    expect(record.latest()).toEqual(reportWith({}));
  });

  test('keeps a compile where its files are not held, unless weak walls are allowed', () => {
    const log = createLog({ clock: createSystemClock(), write: () => undefined });
    const cgroup = { ok: false, reason: 'none' } as const;
    for (const allowsWeak of [false, true]) {
      const wall = createWall({ log, allowsWeak, cgroup });
      expect(wall.mayCompile()).toBe(allowsWeak);
      wall.tried(reportWith({ compile_files: 'missing' }));
      expect(wall.mayCompile()).toBe(allowsWeak);
      wall.tried(reportWith({}));
      expect(wall.mayCompile()).toBe(true);
    }
  });

  test('says of its cgroup why there is none, or that the kernel refused', () => {
    const { record } = open();
    expect(record.confine(7)).toEqual({ part: 'cgroup', state: 'missing', reason: 'none' });
    const log = createLog({ clock: createSystemClock(), write: () => undefined });
    const cgroup = { add: (pid: number) => pid === 7, close: () => undefined };
    const wall = createWall({ log, allowsWeak: false, cgroup: { ok: true, cgroup } });
    expect(wall.confine(7)).toEqual({ part: 'cgroup', state: 'held', reason: null });
    expect(wall.confine(8)).toMatchObject({ part: 'cgroup', state: 'missing' });
  });

  test('has no first report once no engine process will try it', async () => {
    const { record } = open();
    const first = record.refusal().catch((failure: unknown) => failure);
    const reason = new Error('another layout');
    record.giveUp(reason);
    expect(await first).toBe(reason);
  });

  test('has no first report once it is closed without one', async () => {
    const { record } = open();
    const first = record.refusal().catch((failure: unknown) => String(failure));
    record.close();
    expect(await first).toContain('the engine is closed');
  });
});
