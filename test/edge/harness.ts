// What the tests of the edge share: conditions to wait for, raw connections, a listener before a fake engine.
import { connect } from 'node:net';
import { createManualClock, createSystemClock, type Clock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/id.ts';
import { createLog } from '../../src/base/log.ts';
import { createMetrics, type Metrics } from '../../src/base/metrics.ts';
import { openPublicListener } from '../../src/edge/serve/listener.ts';
import { edgeLimits } from '../../src/edge/edge.ts';
import { createEdgeFigures, type EdgeFigures } from '../../src/edge/figures/figures.ts';
import { createFront, type FrontLimits } from '../../src/edge/serve/serve.ts';
import { createRouting, type Routing, type Target } from '../../src/edge/serve/routing.ts';
import { createQuota, type QuotaLimits } from '../../src/model/rules/quota.ts';
import type { RouteRule } from '../../src/model/route.ts';
import { defaultVersionSettings } from '../../src/model/function.ts';
import { createFakeEngine, type FakeEngine, type Handler } from './fake_engine.ts';

const CONDITION_MS_MAX = 5_000;

/** Lets the process turn until `condition` holds; fails by name when it never does. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + CONDITION_MS_MAX;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`it never came true that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** A manual clock that also knows how many are asleep on it. */
export function createTestClock(
  startMs = 1_000_000,
): ReturnType<typeof createManualClock> & { sleepers(): number } {
  const clock = createManualClock(startMs);
  let sleepers = 0;
  return {
    ...clock,
    async sleep(ms, signal) {
      sleepers += 1;
      await clock.sleep(ms, signal);
      sleepers -= 1;
    },
    sleepers: () => sleepers,
  };
}

/** One connection that writes exactly these bytes; `text` is what has come back so far. */
export function openRaw(port: number): {
  write(bytes: string): void;
  text(): string;
  isClosed(): boolean;
  end(): void;
} {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  let closed = false;
  socket.on('data', (data) => (text += data.toString('latin1')));
  socket.on('close', () => (closed = true));
  socket.on('error', () => (closed = true));
  return {
    write: (bytes) => void socket.write(bytes, 'latin1'),
    text: () => text,
    isClosed: () => closed,
    end: () => void socket.destroy(),
  };
}

export async function exchangeRaw(port: number, bytes: string): Promise<string> {
  const raw = openRaw(port);
  raw.write(bytes);
  await until('there is an answer', () => raw.text().includes('\r\n\r\n') || raw.isClosed());
  raw.end();
  return raw.text();
}

export const functionId = (n: number): string => `fn_${String(n).padStart(26, '0')}`;

export type Front = AsyncDisposable & {
  url: string;
  port: number;
  engine: FakeEngine;
  routing: Routing;
  figures: EdgeFigures;
  metrics: Metrics;
  lines: Record<string, unknown>[];
  drain(): void;
};

/** A listener whose routes lead to one function of a fake engine. */
export function openFront(
  options: {
    handler?: Handler;
    rules?: Partial<RouteRule>[];
    limits?: Partial<FrontLimits>;
    quota?: Partial<QuotaLimits>;
    clock?: Clock;
    maxExecutionMs?: number;
    accessLog?: 'all' | 'errors';
    target?: (ready: Target) => Target;
  } = {},
): Front {
  const { clock = createSystemClock(), rules = [{}], accessLog = 'errors' } = options;
  const lines: Record<string, unknown>[] = [];
  const log = createLog({ clock, level: 'debug', write: (line) => void lines.push(JSON.parse(line)) });
  const metrics = createMetrics();
  const engine = createFakeEngine(options.handler);
  const figures = createEdgeFigures({ metrics, clock });
  const routing = createRouting();
  const settings = { ...defaultVersionSettings };
  const code = { digest: '', execution: 'aot', compiledMs: 0, close: () => {} } as const;
  const ref = { functionId: functionId(1), projectId: 'p', version: '1.2.3' };
  const ready: Target = {
    functionId: ref.functionId,
    version: ref.version,
    maxExecutionMs: options.maxExecutionMs ?? settings.max_execution_ms,
    quota: createQuota({ concurrentMax: 100, perMinuteMax: 1_000, ...options.quota }),
    figures: figures.openVersion(ref.functionId),
    pool: engine.openPool({ ref, code, settings }),
  };
  const current = options.target?.(ready) ?? ready;
  const slot = { current };
  routing.replace(
    rules.map((rule) => ({
      rule: { host: '*', path: '/*', methods: [], priority: 0, ...rule },
      target: slot,
    })),
  );
  const limits = { ...edgeLimits, ...options.limits };
  const ingress = createFront({ routing, figures, clock, random: systemRandom, log, limits, accessLog });
  const { requestBytesMax } = limits;
  const listener = openPublicListener({
    listen: { host: '127.0.0.1', port: 0 },
    ingress,
    clock,
    log,
    requestBytesMax,
  });
  return {
    url: `http://127.0.0.1:${listener.port}`,
    port: listener.port,
    engine,
    routing,
    figures,
    metrics,
    lines,
    drain: () => ingress.drain(),
    [Symbol.asyncDispose]: () => listener.close(),
  };
}
