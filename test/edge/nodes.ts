// Whole nodes for a test, with one fake engine and one fake control plane, in a directory of their own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/id.ts';
import { createLog } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { createEdge, type Edge, type EdgeConfig, edgeLimits } from '../../src/edge/edge.ts';
import type { ObservedFunction } from '../../src/model/protocol.ts';
import { createFakeControl, type FakeControl } from './fake_control.ts';
import { createFakeEngine, type FakeEngine } from './fake_engine.ts';
import { functionId } from './harness.ts';

export type TestNodes = {
  readonly dir: string;
  readonly control: FakeControl;
  readonly engine: FakeEngine;
  /** The log of all nodes. */
  readonly lines: string[];
  /** Keeps data in `data`, artifacts in `cache` of `dir`, unless `config` says otherwise. */
  start(config?: Partial<EdgeConfig>): Promise<Edge>;
  /** What the last heartbeat reports of a version of function `n`. */
  reported(n: number, version: string): ObservedFunction | undefined;
  isReported(n: number, version: string, state: string): () => boolean;
  close(): Promise<void>;
};

export function createTestNodes(): TestNodes {
  const dir = mkdtempSync(join(tmpdir(), 'edge-node-'));
  const control = createFakeControl();
  const engine = createFakeEngine();
  const lines: string[] = [];
  const edges: Edge[] = [];
  const clock = createSystemClock();
  const reported: TestNodes['reported'] = (n, version) =>
    control.heartbeats.at(-1)?.functions.find((one) => one.id === functionId(n) && one.version === version);
  return {
    dir,
    control,
    engine,
    lines,
    async start(config = {}) {
      const edge = await createEdge({
        config: {
          ...edgeLimits,
          nodeId: 'n1',
          popId: 'p1',
          labels: {},
          edgeVersion: '0.0.0',
          host: 'host-1',
          dataDir: join(dir, 'data'),
          cacheDir: join(dir, 'cache'),
          listen: { host: '127.0.0.1', port: 0 },
          metricsListen: { host: '127.0.0.1', port: 0 },
          cpUrl: 'http://control.test',
          joinToken: () => Promise.resolve('join-1'),
          accessLog: 'errors',
          ...config,
        },
        engine,
        clock,
        log: createLog({ clock, write: (line) => void lines.push(line) }),
        random: systemRandom,
        controlFetch: (request) => control.fetch(request),
        publicFetch: () => Promise.reject(new Error('nothing is public here')),
        metrics: createMetrics(),
      });
      edges.push(edge);
      return edge;
    },
    reported,
    isReported: (n, version, state) => () => reported(n, version)?.state === state,
    async close() {
      for (const edge of edges) await edge.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export const get = (edge: Edge, path: string): Promise<Response> =>
  fetch(`http://127.0.0.1:${edge.port}${path}`);

export const getMetrics = (edge: Edge, path: string): Promise<Response> =>
  fetch(`http://127.0.0.1:${edge.metricsPort}${path}`);

/** The text of an answer with status 200, else the status. */
export async function textOf(edge: Edge, path: string): Promise<string> {
  const response = await get(edge, path);
  const text = await response.text();
  return response.status === 200 ? text : String(response.status);
}

export const isServed = (edge: Edge, path: string, text: string) => async (): Promise<boolean> =>
  (await textOf(edge, path)) === text;

/** Functions 1 and 2 answer with `text`. */
export const areBothServed = (edge: Edge, text: string) => async (): Promise<boolean> =>
  (await textOf(edge, '/1')) === text && (await textOf(edge, '/2')) === text;
