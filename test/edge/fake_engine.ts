// An engine that answers with a handler instead of running code, and records what it was asked, in order.
import type { GuestErrorCode, ModuleErrorCode } from '../../src/base/errors.ts';
import type { Code, Engine, Pool, VersionRef } from '../../src/engine/engine.ts';
import type { WallReport } from '../../src/model/wall.ts';
import type { InvocationOutcome, InvocationRequest } from '../../src/model/invocation.ts';

export type Handler = (
  request: InvocationRequest,
  deadlineMs: number,
  ref: VersionRef,
) => InvocationOutcome | Promise<InvocationOutcome>;

export type FakeEngine = Engine & {
  readonly events: string[];
  handler: Handler;
  /** By text of the artifact: the failure of `prepare`, and that of `warm`. */
  readonly refusals: Map<string, { code: ModuleErrorCode; message: string }>;
  readonly unstartable: Map<string, { code: GuestErrorCode; detail: string }>;
  /** Texts of artifacts whose pools never get warm: `warm` fails when they are closed. */
  readonly stuck: Set<string>;
  /** How many workers `warm` was asked for, by text of the artifact. */
  readonly warmed: Map<string, number>;
  /** The `graceMs` of every pool that was closed, in order. */
  readonly graces: number[];
  /** The workers of one pool that the node has room for. */
  poolWorkersMax: number;
  /** Texts of artifacts that the node fails to compile. */
  readonly standIns: Set<string>;
  /** The signal of every `prepare` that had one, in order. */
  readonly cancels: AbortSignal[];
  /** By text of the artifact: `prepare` waits for it. */
  readonly gates: Map<string, Promise<void>>;
  /** What the engine says of its wall. */
  report: WallReport | null;
  openPools(): number;
  openCodes(): number;
};

export const answer = (text: string, headers: [string, string][] = []): InvocationOutcome => ({
  kind: 'answer',
  status: 200,
  headers: [['content-type', 'text/plain'], ...headers],
  body: new TextEncoder().encode(text),
  logs: null,
});

function openFakePool(engine: FakeEngine, ref: VersionRef, text: string, onClose: () => void): Pool {
  engine.events.push(`open ${text}`);
  let workers = 0;
  let running = 0;
  let isClosed = false;
  let idle: (() => void) | null = null;
  const closing = Promise.withResolvers<void>();
  return {
    ref,
    async warm(count) {
      engine.events.push(`warm ${text}`);
      engine.warmed.set(text, count);
      if (engine.stuck.has(text)) {
        await closing.promise;
        return { ok: false, code: 'worker_lost', detail: null };
      }
      const failure = engine.unstartable.get(text);
      if (failure !== undefined) return { ok: false, ...failure };
      workers = Math.min(count, engine.poolWorkersMax);
      if (workers === count) return { ok: true };
      return { ok: false, code: 'worker_lost', detail: 'no worker became ready in time' };
    },
    async invoke(request, deadlineMs) {
      if (isClosed) return { kind: 'unavailable', code: 'shutting_down' };
      running += 1;
      const outcome = await engine.handler(request, deadlineMs, ref);
      running -= 1;
      if (running === 0) idle?.();
      return outcome;
    },
    stats: () => ({ workers, idle: workers, busy: running, starting: 0, queued: 0 }),
    async close({ graceMs }) {
      engine.graces.push(graceMs);
      isClosed = true;
      closing.resolve();
      if (running > 0) await new Promise<void>((resolve) => (idle = resolve));
      onClose();
      engine.events.push(`close ${text}`);
    },
  };
}

const NO_COMPILES = {
  compiled: 0,
  failed: 0,
  queued: 0,
  compile_ms_total: 0,
  cache_hits: 0,
  cache_misses: 0,
  interpreted: 0,
};

export function createFakeEngine(
  handler: Handler = (_request, _deadline, ref) => answer(ref.version),
): FakeEngine {
  const events: string[] = [];
  let pools = 0;
  let codes = 0;
  const texts = new Map<Code, string>();
  const engine: FakeEngine = {
    events,
    handler,
    refusals: new Map(),
    unstartable: new Map(),
    stuck: new Set(),
    warmed: new Map(),
    graces: [],
    poolWorkersMax: Number.MAX_SAFE_INTEGER,
    standIns: new Set(),
    cancels: [],
    gates: new Map(),
    report: null,
    openPools: () => pools,
    openCodes: () => codes,
    async prepare({ artifact, sha256, signal }) {
      const text = new TextDecoder().decode(artifact);
      events.push(`prepare ${text}`);
      if (signal !== undefined) engine.cancels.push(signal);
      await engine.gates.get(text);
      const refusal = engine.refusals.get(text);
      if (refusal !== undefined) return { ok: false, ...refusal };
      codes += 1;
      const code: Code = {
        digest: sha256,
        execution: engine.standIns.has(text) ? 'interpreter' : 'aot',
        compiledMs: 1,
        isStandIn: engine.standIns.has(text),
        interpreted: engine.standIns.has(text) ? 'the node failed to compile it' : null,
        close: () => void (codes -= 1),
      };
      texts.set(code, text);
      return { ok: true, code };
    },
    openPool({ ref, code }) {
      pools += 1;
      return openFakePool(engine, ref, texts.get(code) ?? '', () => (pools -= 1));
    },
    stats: () => ({
      workers: pools,
      busy: 0,
      restarts: 0,
      killed: 0,
      crashed: 0,
      enginePid: null,
      compile: NO_COMPILES,
    }),
    ready: () => Promise.resolve(),
    isServing: () => true,
    stopListening: () => false,
    wall: () => engine.report,
    wallRefusal: () => Promise.resolve(null),
    unusable: new Promise(() => {}),
    close: () => Promise.resolve(),
  };
  return engine;
}
