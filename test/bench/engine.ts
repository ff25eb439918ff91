// Measures the engine alone, run with `bun test/bench/engine.ts`; only ratios within one run mean something.
import type { Pool } from '../../src/engine/engine.ts';
import { openTestEngine, type TestEngine } from '../engine/harness.ts';

const WARM_UP = 5_000;
const CLOSED_LOOP = 40_000;
const COLD_STARTS = 100;
const KILLS = 40;

type Figures = { perSecond: number; p50Us: number; p99Us: number; cpuUs: number };

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.floor(sorted.length * share)] ?? 0;

/** A closed loop: each of `concurrency` clients sends its next request once the last one is answered. */
async function load(host: TestEngine, pool: Pool, count: number, concurrency: number): Promise<Figures> {
  const latencies: number[] = [];
  const request = {
    requestId: '0123456789abcdef',
    method: 'GET',
    target: '/hello',
    headers: 'host: a\r\n',
    body: null,
  };
  let left = count;
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  const ask = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const askedMs = performance.now();
      const { kind } = await pool.invoke(request, host.clock.monotonicMs() + 1_000);
      if (kind !== 'answer') throw new Error(`an invocation ended as ${kind}`);
      latencies.push(performance.now() - askedMs);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, ask));
  const ms = performance.now() - startMs;
  const used = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  return {
    perSecond: (count / ms) * 1_000,
    p50Us: at(latencies, 0.5) * 1_000,
    p99Us: at(latencies, 0.99) * 1_000,
    cpuUs: (used.user + used.system) / count,
  };
}

async function coldStarts(host: TestEngine): Promise<number[]> {
  const times: number[] = [];
  for (let count = 0; count < COLD_STARTS; count += 1) {
    const { pool, code } = await host.openGuest('hello/hello-c.wasm');
    const startMs = performance.now();
    if ((await host.invoke(pool)).kind !== 'answer') throw new Error('a cold start failed');
    times.push(performance.now() - startMs);
    await pool.close({ graceMs: 0 });
    code.close();
  }
  return times.sort((a, b) => a - b);
}

/** How many milliseconds after its deadline an invocation that loops is answered. */
async function latenesses(host: TestEngine): Promise<number[]> {
  const { pool } = await host.openGuest('hostile/loop-forever.wasm', { max_execution_ms: 20 });
  const times: number[] = [];
  await pool.warm(1);
  for (let count = 0; count < KILLS; count += 1) {
    const startMs = performance.now();
    await host.invoke(pool, {}, 20);
    times.push(performance.now() - startMs - 20);
  }
  await pool.close({ graceMs: 0 });
  return times.sort((a, b) => a - b);
}

const lines: string[] = [];
const host = await openTestEngine();
await host.engine.ready();
for (const isolation of ['reuse', 'clean'] as const) {
  const { pool, code } = await host.openGuest('hello/hello-c.wasm', { isolation });
  await pool.warm(1);
  for (const concurrency of [32, 1]) {
    await load(host, pool, WARM_UP, concurrency);
    const found = await load(host, pool, CLOSED_LOOP, concurrency);
    const numbers = Object.entries(found).map(
      ([name, value]) => `${name} ${value.toFixed(name === 'perSecond' ? 0 : 1)}`,
    );
    lines.push(`${isolation} (${code.execution}), concurrency ${concurrency}: ${numbers.join(', ')}`);
  }
  await pool.close({ graceMs: 0 });
}
const cold = await coldStarts(host);
lines.push(`cold start: p50 ${at(cold, 0.5).toFixed(2)} ms, p99 ${at(cold, 0.99).toFixed(2)} ms`);
const late = await latenesses(host);
lines.push(`late after a deadline: p50 ${at(late, 0.5).toFixed(2)} ms, p99 ${at(late, 0.99).toFixed(2)} ms`);
lines.push(`RSS of this process: ${(process.memoryUsage().rss / 1e6).toFixed(0)} MB`);
await host.close();
process.stdout.write(`${lines.join('\n')}\n`);
