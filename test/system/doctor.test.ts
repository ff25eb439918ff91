// `edge doctor` beside the data of a control plane: what is broken, and the command that repairs it.
import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deployed, fixture, run, startUp, temporaryDirectory } from './harness.ts';

describe('edge doctor at a control plane', () => {
  test('names a damaged artifact while the control plane runs, until its bytes are uploaded again', async () => {
    using dir = temporaryDirectory();
    const up = await startUp(dir.path);
    try {
      const file = fixture('hello/hello-c.wasm');
      await deployed(up, file, ['--name', 'greeter']);
      const doctor = () => run(['doctor', '--data-dir', dir.path]);
      const whole = await doctor();
      expect([whole.code, whole.out]).toEqual([
        0,
        expect.stringContaining('1 checked, 0 damaged or missing'),
      ]);
      const artifacts = join(dir.path, 'artifacts');
      const folder = readdirSync(artifacts).find((name) => /^[0-9a-f]{2}$/.test(name)) ?? '';
      const [digest = ''] = readdirSync(join(artifacts, folder));
      writeFileSync(join(artifacts, folder, digest), 'damaged');
      const broken = await doctor();
      expect(broken.code).toBe(1);
      expect(broken.out).toContain('greeter');
      expect(broken.out).toContain('DAMAGED');
      const json = await run(['doctor', '--data-dir', dir.path, '--json']);
      expect([json.code, JSON.parse(json.out)]).toMatchObject([
        1,
        { artifacts: { broken: [{ sha256: digest }] } },
      ]);
      const [, target = ''] = /"\$EDGE_URL(\/[^"]+)"/.exec(broken.out) ?? [];
      const repaired = await fetch(`${up.controlUrl}${target}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${up.token}` },
        body: readFileSync(file),
      });
      expect(repaired.status).toBe(200);
      expect((await doctor()).code).toBe(0);
    } finally {
      await up.close();
    }
  }, 90_000);
});
