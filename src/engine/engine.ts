// The engine as an edge uses it: prepare an artifact, open a pool for a version, invoke, close.
import type { GuestErrorCode, ModuleErrorCode } from '../base/errors.ts';
import type { InvocationOutcome, InvocationRequest } from '../model/invocation.ts';
import type { VersionSettings } from '../model/function.ts';
import type { WallReport } from '../model/wall.ts';
import type { EngineUnusable } from './ring/process_exit.ts';

/** Names a version, and its pool, in logs and metrics. */
export type VersionRef = { functionId: string; projectId: string; version: string };

/**
 * Code that a worker may load: sealed memory with exactly the bytes that were verified. Whoever prepared it
 * closes it, after every pool that was opened with it.
 */
export type Code = {
  readonly digest: string;
  readonly execution: 'aot' | 'interpreter';
  readonly compiledMs: number;
  /** Why it runs in the interpreter; null for compiled code. */
  readonly interpreted: string | null;
  /** The node could not compile it this time: it runs in the interpreter, and may be prepared again. */
  readonly isStandIn: boolean;
  close(): void;
};

export type PrepareOutcome = { ok: true; code: Code } | { ok: false; code: ModuleErrorCode; message: string };

export type PoolStats = { workers: number; idle: number; busy: number; starting: number; queued: number };

export type Pool = {
  readonly ref: VersionRef;
  /**
   * Starts workers until `count` are ready; resolves with the fault of the first that cannot start. On a full
   * node it fails as soon as those are ready that the node has room for; `stats` says how many.
   */
  warm(count: number): Promise<{ ok: true } | { ok: false; code: GuestErrorCode; detail: string | null }>;
  /** `deadlineMs` is absolute, monotonic, and covers queueing, start and call. Never rejects. */
  invoke(request: InvocationRequest, deadlineMs: number): Promise<InvocationOutcome>;
  stats(): PoolStats;
  /** Refuses new invocations, lets the running ones end for `graceMs`, then ends every worker. */
  close(options: { graceMs: number }): Promise<void>;
};

/** Counts since the engine was created. Artifacts of `failed` compiles run in the interpreter. */
export type CompileCounts = {
  compiled: number;
  failed: number;
  /** Present length of the queue. */
  queued: number;
  compile_ms_total: number;
  cache_hits: number;
  cache_misses: number;
  interpreted: number;
};

export type EngineStats = {
  workers: number;
  busy: number;
  restarts: number;
  /** Workers killed at a deadline. */
  killed: number;
  /** Workers that ended by themselves or broke the protocol. */
  crashed: number;
  enginePid: number | null;
  compile: CompileCounts;
};

export type Engine = {
  /**
   * Checks the artifact again, then compiles it in a limited child or takes the authenticated file of an
   * earlier compile. Throws `artifact_unavailable` when its digest is not `sha256`. This process loads none
   * of it. After `signal` aborts, a compile for which nobody else waits ends, and the code is a stand-in.
   */
  prepare(input: {
    artifact: Uint8Array;
    sha256: string;
    settings: VersionSettings;
    signal?: AbortSignal;
  }): Promise<PrepareOutcome>;
  openPool(input: { ref: VersionRef; code: Code; settings: VersionSettings }): Pool;
  stats(): EngineStats;
  /**
   * Resolves once the engine process takes work; after it died, once the next one does. Rejects with an
   * `EngineUnusable` when none ever will, and when the engine is closed first.
   */
  ready(): Promise<void>;
  /** Whether it takes work and obeys at this moment. */
  isServing(): boolean;
  /** This process takes no more connections on a port; those that are open stay. False where it cannot. */
  readonly stopListening: (port: number) => boolean;
  /** The wall around guests, as the last engine process has tried it; null before the first. */
  wall(): WallReport | null;
  /**
   * Once the wall was tried: why no guest may run behind it, as a sentence; null where one may. Rejects as `ready`
   * does where no process has tried it.
   */
  wallRefusal(): Promise<string | null>;
  /** Resolves when no engine process will ever serve; otherwise stays pending. */
  readonly unusable: Promise<EngineUnusable>;
  close(): Promise<void>;
};
