// What `edge doctor` reads of a control plane's data directory, whether the control plane runs or not.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { printArtifacts } from '../../../src/cli/artifacts.ts';
import { inspectArtifacts } from '../../../src/store/artifacts/inspect.ts';
import { createRecorder } from '../../cli/control_plane.ts';
import { type Fleet, hello, helloAgain, openFleet } from '../../control/harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

const digestOf = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');
const pathOf = (name: string): string => join(fleet.dir, 'artifacts', name.slice(0, 2), name);

test('A directory without a control plane has no artifacts to check', async () => {
  expect(await inspectArtifacts(join(tmpdir(), 'edge-nothing-here'))).toBeNull();
});

describe('The artifacts of a control plane', () => {
  test('are whole after their upload', async () => {
    await fleet.publish('hello');
    const whole = { checked: 1, broken: [], orphaned: [], set_aside: { orphaned: 0, damaged: 0 } };
    expect(await inspectArtifacts(fleet.dir)).toEqual(whole);
    await fleet.control.close();
    const files = readdirSync(fleet.dir).sort();
    expect(await inspectArtifacts(fleet.dir)).toEqual(whole);
    expect(readdirSync(fleet.dir).sort()).toEqual(files);
    const terminal = createRecorder();
    printArtifacts(terminal, whole);
    expect(terminal.out.join('')).toBe('\nArtifacts: 1 checked, 0 damaged or missing.\n');
  });

  test('are reported with the versions that need them where they are damaged, missing or orphaned', async () => {
    const [first, second] = [await fleet.publish('hello'), await fleet.publish('again')];
    const third = await fleet.publish('other', helloAgain);
    const orphan = digestOf('nobody');
    mkdirSync(join(fleet.dir, 'artifacts', orphan.slice(0, 2)), { recursive: true });
    writeFileSync(pathOf(orphan), 'nobody');
    writeFileSync(pathOf(digestOf(hello)), 'damaged');
    rmSync(pathOf(digestOf(helloAgain)));
    const before = readdirSync(fleet.dir, { recursive: true });
    const report = await inspectArtifacts(fleet.dir);
    expect(readdirSync(fleet.dir, { recursive: true }).sort()).toEqual(before.sort());
    const versionOf = (name: string, function_id: string) => {
      return { project_id: 'default', name, function_id, version: '1.0.0' };
    };
    const broken = [
      {
        sha256: digestOf(hello),
        state: 'damaged' as const,
        is_aside: false,
        versions: [versionOf('again', second), versionOf('hello', first)],
      },
      {
        sha256: digestOf(helloAgain),
        state: 'missing' as const,
        is_aside: false,
        versions: [versionOf('other', third)],
      },
    ].sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1));
    expect(report).toEqual({
      checked: 2,
      broken,
      orphaned: [orphan],
      set_aside: { orphaned: 0, damaged: 0 },
    });
  });

  test('that were set aside are said to come back', async () => {
    await fleet.publish('hello');
    const aside = join(fleet.dir, 'artifacts', 'orphaned');
    mkdirSync(aside);
    renameSync(pathOf(digestOf(hello)), join(aside, digestOf(hello)));
    const report = await inspectArtifacts(fleet.dir);
    expect(report?.broken).toMatchObject([{ state: 'missing', is_aside: true }]);
    expect(report?.set_aside).toEqual({ orphaned: 1, damaged: 0 });
  });

  test('that are broken are printed with the command that repairs them, which works', async () => {
    const id = await fleet.publish('hello');
    writeFileSync(pathOf(digestOf(hello)), 'damaged');
    const report = await inspectArtifacts(fleet.dir);
    if (report === null) throw new Error('no report');
    const terminal = createRecorder();
    printArtifacts(terminal, report);
    const text = terminal.out.join('');
    expect(text).toContain('DAMAGED');
    expect(text).toContain('hello     1.0.0');
    const [, target = ''] = /"\$EDGE_URL(\/[^"]+)"/.exec(text) ?? [];
    expect(target).toContain(id);
    expect((await fleet.call('POST', target, { body: hello })).status).toBe(200);
    expect((await inspectArtifacts(fleet.dir))?.broken).toEqual([]);
  });

  test('cannot be checked where the database is none', async () => {
    const dir = join(fleet.dir, 'other');
    mkdirSync(dir);
    writeFileSync(join(dir, 'control.db'), 'x'.repeat(4_096));
    await expect(inspectArtifacts(dir)).rejects.toThrow('file is not a database');
  });
});
