// Measures what the edge costs above a bare Bun.serve, with an engine that answers at once.
import { createSystemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/id.ts';
import { createLog } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { edgeLimits } from '../../src/edge/edge.ts';
import { createSingleRunner } from '../../src/edge/single.ts';
import { defaultVersionSettings } from '../../src/model/function.ts';
import { createFakeEngine } from '../edge/fake_engine.ts';

const BODY = new TextEncoder().encode('Hello from the edge\n');
const CONNECTIONS = 32;
const SECONDS = 3;

/** `cpuMicros` is the processor time of this process per request, which other programs disturb least. */
type Load = { perSecond: number; p99Ms: number; cpuMicros: number };

async function load(port: number): Promise<Load> {
  const command = [
    'wrk',
    '-t1',
    `-c${CONNECTIONS}`,
    `-d${SECONDS}s`,
    '--latency',
    `http://127.0.0.1:${port}/hello`,
  ];
  const before = process.cpuUsage();
  const text = await new Response(Bun.spawn(command, { stdout: 'pipe' }).stdout).text();
  const p99 = /99%\s+([\d.]+)(us|ms|s)/.exec(text);
  const scale = { us: 0.001, ms: 1, s: 1_000 }[p99?.[2] ?? 'ms'] ?? 1;
  const { user, system } = process.cpuUsage(before);
  const count = Number(/(\d+) requests in/.exec(text)?.[1]);
  return {
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]),
    p99Ms: Number(p99?.[1]) * scale,
    cpuMicros: (user + system) / count,
  };
}

const clock = createSystemClock();
const headers: [string, string][] = [['content-type', 'text/plain']];
const engine = createFakeEngine(() => ({ kind: 'answer', status: 200, headers, body: BODY, logs: null }));
const runner = await createSingleRunner({
  bytes: BODY,
  settings: defaultVersionSettings,
  engine,
  listen: { host: '127.0.0.1', port: 0 },
  limits: edgeLimits,
  accessLog: 'errors',
  poolWorkersMin: 1,
  drainMs: 1_000,
  clock,
  random: systemRandom,
  log: createLog({ clock, level: 'error' }),
  metrics: createMetrics(),
  note: () => undefined,
});
const bare = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch: () => new Response(BODY, { headers: { 'content-type': 'text/plain' } }),
});

const line = (name: string, { perSecond, p99Ms, cpuMicros }: Load): void => {
  const rate = perSecond.toFixed(0).padStart(8);
  process.stdout.write(
    `${name.padEnd(8)} ${rate}/s  p99 ${p99Ms.toFixed(2)} ms  ${cpuMicros.toFixed(1)} µs CPU\n`,
  );
};
await load(runner.port);
const base = await load(bare.port ?? 0);
const edge = await load(runner.port);
line('bare', base);
line('ingress', edge);
const more = edge.cpuMicros - base.cpuMicros;
process.stdout.write(
  `ratio ${(edge.perSecond / base.perSecond).toFixed(2)}, ${more.toFixed(1)} µs CPU more\n`,
);
await bare.stop(true);
await runner.close();
