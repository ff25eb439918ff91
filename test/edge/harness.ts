// What the tests of the edge share: conditions, a manual clock, raw connections, a server of one function.
import { connect } from 'node:net';
import { type Clock, createManualClock, createSystemClock, type ManualClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/id.ts';
import { createLog } from '../../src/base/log.ts';
import { createMetrics, type Metrics } from '../../src/base/metrics.ts';
import { edgeLimits } from '../../src/edge/edge.ts';
import { createEdgeFigures, type EdgeFigures } from '../../src/edge/figures/figures.ts';
import { openFunctionServer, type ServeLimits } from '../../src/edge/serve/serve.ts';
import {
  type AssignedVersion,
  createRouting,
  type ReadyVersion,
  type Routing,
} from '../../src/edge/serve/routing.ts';
import { createQuota, type QuotaLimits } from '../../src/model/rules/quota.ts';
import type { RouteRule } from '../../src/model/route.ts';
import { defaultVersionSettings } from '../../src/model/function.ts';
import { createFakeEngine, type FakeEngine, type Handler } from './fake_engine.ts';

const CONDITION_MS_MAX = 5_000;

/** Waits until `condition` holds; rejects with `what` when it does not within 5 s. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + CONDITION_MS_MAX;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within 5 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** A manual clock that counts who sleeps on it. */
export type TestClock = ManualClock & { sleepers(): number };

export function createTestClock(startMs = 1_000_000): TestClock {
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

/** One connection on which a test writes bytes as they are; `text` is what has come back so far. */
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

const COMPILED = { isStandIn: false, interpreted: null } as const;

export const functionId = (n: number): string => `fn_${String(n).padStart(26, '0')}`;

export type TestServer = AsyncDisposable & {
  url: string;
  port: number;
  engine: FakeEngine;
  routing: Routing;
  figures: EdgeFigures;
  metrics: Metrics;
  lines: Record<string, unknown>[];
  refuseNew(): void;
};

/** A server whose routes lead to one function of a fake engine. */
export function openTestServer(
  options: {
    handler?: Handler;
    rules?: Partial<RouteRule>[];
    limits?: Partial<ServeLimits>;
    quota?: Partial<QuotaLimits>;
    clock?: Clock;
    maxExecutionMs?: number;
    accessLog?: 'all' | 'errors';
    /** Makes what the routes lead to from the version that is ready. */
    assign?: (ready: ReadyVersion) => AssignedVersion;
  } = {},
): TestServer {
  const { clock = createSystemClock(), rules = [{}], accessLog = 'errors' } = options;
  const lines: Record<string, unknown>[] = [];
  const log = createLog({ clock, level: 'debug', write: (line) => void lines.push(JSON.parse(line)) });
  const metrics = createMetrics();
  const engine = createFakeEngine(options.handler);
  const figures = createEdgeFigures({ metrics, clock });
  const routing = createRouting();
  const settings = { ...defaultVersionSettings };
  const code = { digest: '', execution: 'aot', compiledMs: 0, ...COMPILED, close: () => {} } as const;
  const ref = { functionId: functionId(1), projectId: 'p', version: '1.2.3' };
  const ready: ReadyVersion = {
    functionId: ref.functionId,
    version: ref.version,
    maxExecutionMs: options.maxExecutionMs ?? settings.max_execution_ms,
    quota: createQuota({ concurrentMax: 100, perMinuteMax: 1_000, ...options.quota }),
    figures: figures.openVersion(ref.functionId),
    pool: engine.openPool({ ref, code, settings }),
  };
  const routed = { current: options.assign?.(ready) ?? ready };
  routing.replace(
    rules.map((rule) => ({
      rule: { host: '*', path: '/*', methods: [], priority: 0, ...rule },
      target: routed,
    })),
  );
  const listen = { host: '127.0.0.1', port: 0 };
  const config = { ...edgeLimits, ...options.limits, listen, accessLog };
  const server = openFunctionServer({
    config,
    routing,
    figures,
    clock,
    random: systemRandom,
    log,
    stopListening: () => true,
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    port: server.port,
    engine,
    routing,
    figures,
    metrics,
    lines,
    refuseNew: server.refuseNew,
    [Symbol.asyncDispose]: () => server.close(),
  };
}
