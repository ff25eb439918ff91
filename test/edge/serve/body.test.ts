// The memory that request bodies may take, all together and those of one project.
import { describe, expect, test } from 'bun:test';
import { type Bodies, createBodies } from '../../../src/edge/serve/body.ts';
import { createTestClock } from '../harness.ts';

describe('The bodies of one project', () => {
  const bodiesOf = (): Bodies =>
    createBodies({
      clock: createTestClock(),
      limits: { requestBytesMax: 100, requestBodyMs: 1_000, requestBodiesBytesMax: 800 },
    });
  const request = (): Request => new Request('http://a/', { method: 'POST', body: 'x'.repeat(100) });

  test('take a quarter of the room at most, and leave the rest to others', async () => {
    const bodies = bodiesOf();
    const [slow, other] = [{}, {}];
    const kept = [await bodies.read(request(), 100, slow), await bodies.read(request(), 100, slow)];
    expect(kept.map(({ ok }) => ok)).toEqual([true, true]);
    expect(await bodies.read(request(), 100, slow)).toEqual({ ok: false, code: 'bodies_full' });
    expect(await bodies.read(request(), 100, other)).toMatchObject({ ok: true });
    const [first] = kept;
    if (first?.ok === true) bodies.release(first.body, slow);
    expect(await bodies.read(request(), 100, slow)).toMatchObject({ ok: true });
  });
});
