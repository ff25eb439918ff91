// The agent of a node: joins its control plane once, then reports and learns the desired state by heartbeats.
import type { KeyObject } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { within } from '../../base/deadline.ts';
import type { Failpoints } from '../../base/failpoints/failpoints.ts';
import { createId, type RandomBytes, randomFraction } from '../../base/id.ts';
import { SYNC_BOUNDS, SYNC_TUNING } from '../../base/limits/sync.ts';
import type { Log } from '../../base/log.ts';
import { startLoop } from '../../base/loop.ts';
import { backoffMs } from '../../base/retry.ts';
import type { SendRequest } from '../send.ts';
import { endsWithRebase } from '../../model/epoch.ts';
import type { Labels } from '../../model/names.ts';
import type { NodeInstance } from '../../model/node.ts';
import { type HeartbeatRequest, joinProofText } from '../../model/protocol.ts';
import { type Accepted, judgeAnswer, readControlKey, type Refused, type Stored } from './accept.ts';
import { type ControlClient, createControlClient, type HeartbeatReply } from './control_client.ts';
import { type Credentials, type NodeFiles, openNodeFiles } from './node_files.ts';
import { createRefusals, type Refusals } from './refusals.ts';

export type SyncConfig = {
  nodeId: string;
  popId: string;
  labels: Labels;
  edgeVersion: string;
  /** The name of this machine, by which a person finds a process that should not run. */
  host: string;
  /** Holds the credentials of the node and its last desired state. */
  dataDir: string;
  cpUrl: string;
  /** Asked when the node joins: until it has credentials, and where they are those of a stranger. */
  joinToken: (() => Promise<string>) | null;
  /** The longest time between two heartbeats; one is held for `SYNC_BOUNDS.heartbeatHoldMs` at most. */
  heartbeatIntervalMs: number;
};

/** What the node says of itself; the agent adds which desired state it has. */
export type NodeReport = Pick<
  HeartbeatRequest,
  'status' | 'cpu_percent' | 'mem_bytes' | 'functions' | 'wall'
>;

/** `onAccepted` is called once the state is on disk, or once the disk has refused it. */
export type ReportingNode = { report: () => NodeReport; onAccepted: (accepted: Accepted) => void };

export type AgentOptions = {
  config: SyncConfig;
  /** Carries requests to the control plane. */
  controlFetch: SendRequest;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  onHeartbeat: (result: 'ok' | 'refused' | 'unreachable' | 'unauthenticated') => void;
  /** The control plane has refused the join for good: nothing further is sent. */
  onJoinRefused: (message: string) => void;
  failpoints: Failpoints;
};

export type Heartbeats = {
  /** Sends no further heartbeat, then reports `offline` if that succeeds within `graceMs`. */
  close(options: { graceMs: number }): Promise<void>;
};

const RECONNECT = { delayMsMin: SYNC_TUNING.reconnectMsMin, delayMsMax: SYNC_TUNING.reconnectMsMax };
/** An answer without news within `UNHELD_MS` was not held; the next heartbeat waits for `UNHELD_WAIT_MS`. */
const UNHELD_MS = 100;
const UNHELD_WAIT_MS = 1_000;

/**
 * Reads what an earlier process of this node stored, and sends nothing before `start`. Rejects when there are
 * neither credentials nor a join token nor a desired state to serve.
 */
export async function openAgent(options: AgentOptions): Promise<Agent> {
  const { config, controlFetch, clock, random, log } = options;
  const { dataDir, nodeId, cpUrl, joinToken } = config;
  const files = openNodeFiles({ dataDir, nodeId, random, log });
  const credentials = await files.loadCredentials();
  const stored = await files.loadDesired(credentials);
  if (credentials === null && joinToken === null && stored === null) {
    throw new Error('this node has not joined a control plane yet and has no join token');
  }
  const client = createControlClient({ cpUrl, controlFetch, clock });
  return new Agent(options, { files, client, credentials, stored });
}

export class Agent {
  readonly #options: AgentOptions;
  /** Tells this process from another one that reports as the same node. */
  readonly #instance: NodeInstance;
  readonly #files: NodeFiles;
  readonly #client: ControlClient;
  readonly #refusals: Refusals;
  #credentials: Credentials | null;
  #accepted: Accepted | null;
  /** Served until the control plane that this node has joined since then has answered; binds nothing. */
  #inherited: Accepted | null = null;
  /** The key that signed what is served. */
  #servedKey: string | null;
  /** The pinned key of the control plane, read at its first use. */
  #key: KeyObject | null = null;
  /** Aborts when the observed state changes. */
  #changed = new AbortController();
  #failures = 0;
  /** Whether the control plane has taken a heartbeat of this process. */
  #isKnown = false;
  #sentMs = Number.NEGATIVE_INFINITY;

  constructor(
    options: AgentOptions,
    parts: {
      files: NodeFiles;
      client: ControlClient;
      credentials: Credentials | null;
      stored: Stored | null;
    },
  ) {
    this.#options = options;
    const { clock, random, config } = options;
    this.#instance = { id: createId('run', clock.nowMs(), random), host: config.host };
    this.#files = parts.files;
    this.#client = parts.client;
    this.#credentials = parts.credentials;
    this.#accepted = parts.stored?.accepted ?? null;
    this.#servedKey = parts.stored?.signedBy ?? null;
    if (parts.credentials !== null && this.#servedKey !== parts.credentials.control_public_key)
      this.#unbind();
    this.#refusals = createRefusals({ nodeId: config.nodeId, random, log: options.log });
  }

  /** The observed state has changed: gives up a heartbeat that is held and reports anew. */
  notify(): void {
    const changed = this.#changed;
    this.#changed = new AbortController();
    changed.abort();
  }

  /** What this node serves. */
  accepted(): Accepted | null {
    return this.#accepted ?? this.#inherited;
  }

  /** Whether this node and its control plane refuse each other. */
  isDiverged(): boolean {
    return this.#refusals.isDiverged();
  }

  nodeToken(): string | null {
    return this.#credentials?.node_token ?? null;
  }

  /** Begins to join and to send heartbeats; called once, and its caller closes the heartbeats. */
  start(node: ReportingNode): Heartbeats {
    const { clock, log } = this.#options;
    const failedMs = SYNC_TUNING.reconnectMsMin;
    const step = (signal: AbortSignal): Promise<number> => this.#step(node, signal);
    const loop = startLoop({ name: 'heartbeat', clock, log, failedMs, step });
    return {
      close: async ({ graceMs }) => {
        await loop.close();
        await this.#reportOffline(node, graceMs);
      },
    };
  }

  async #reportOffline(node: ReportingNode, graceMs: number): Promise<void> {
    if (this.#credentials === null) return;
    const { clock, log } = this.#options;
    const ended = new AbortController();
    const offline = { status: 'offline', hold_ms: 0 } as const;
    try {
      await within(
        clock,
        graceMs,
        this.#send({ ...node.report(), ...offline }, this.#credentials, ended.signal),
      );
    } catch (failure) {
      log.info('the report that this node is offline failed', { error: String(failure) });
    }
    ended.abort();
  }

  /** One exchange; returns the milliseconds until the next. */
  async #step(node: ReportingNode, signal: AbortSignal): Promise<number> {
    const { log, onHeartbeat } = this.#options;
    try {
      return await this.#exchange(node, signal);
    } catch (failure) {
      if (signal.aborted) return 0;
      onHeartbeat('unreachable');
      const waitMs = this.#backoffMs();
      log.warn('no exchange with the control plane; functions keep answering', {
        error: failure instanceof Error ? failure.message : 'unknown',
        retry_ms: Math.round(waitMs),
      });
      return waitMs;
    }
  }

  async #exchange(node: ReportingNode, signal: AbortSignal): Promise<number> {
    const { config, clock } = this.#options;
    const credentials = this.#credentials ?? (await this.#join(await this.#joinToken(), signal));
    if (credentials === null) return await untilAborted(signal);
    await this.#files.catchUp();
    const changed = this.#changed.signal;
    await clock.sleep(Math.max(0, this.#sentMs + SYNC_TUNING.heartbeatGapMs - clock.monotonicMs()), signal);
    this.#sentMs = clock.monotonicMs();
    const wake = AbortSignal.any([signal, changed]);
    const longestMs = Math.min(config.heartbeatIntervalMs, SYNC_BOUNDS.heartbeatHoldMs);
    const holdMs = this.#refusals.isDoubtful() ? 0 : longestMs;
    const reply = await this.#send({ ...node.report(), hold_ms: holdMs }, credentials, wake);
    if (reply.kind === 'aborted') return 0;
    if (reply.kind === 'answered')
      return await this.#take(node, reply, credentials, { wake, signal, holdMs });
    const { status } = reply;
    this.#options.onHeartbeat(status === 401 || status === 403 ? 'unauthenticated' : 'refused');
    const waitMs = this.#backoffMs();
    this.#refusals.rejected(status, waitMs);
    return status === 401 && (await this.#joinsAgain(signal)) ? 0 : waitMs;
  }

  async #take(
    node: ReportingNode,
    { bytes, signature }: { bytes: Uint8Array; signature: string | null },
    credentials: Credentials,
    { wake, signal, holdMs }: { wake: AbortSignal; signal: AbortSignal; holdMs: number },
  ): Promise<number> {
    const { config, clock, log, onHeartbeat } = this.#options;
    this.#key ??= readControlKey(credentials.control_public_key);
    if (this.#key === null) throw new Error('the stored key of the control plane is damaged');
    const current = this.#accepted;
    const { nodeId } = config;
    const nonce = this.#refusals.current()?.nonce ?? null;
    const judged = judgeAnswer({ bytes, signature, key: this.#key, nodeId, current, nonce });
    if (judged.kind === 'refused') return await this.#refuse(judged, signal);
    onHeartbeat('ok');
    this.#isKnown = true;
    this.#failures = 0;
    this.#refusals.over();
    if (judged.kind === 'accepted') {
      const { control_public_key: key } = credentials;
      if (signature !== null) await this.#files.keepDesired({ bytes, signature, key });
      this.#accepted = judged.accepted;
      this.#inherited = null;
      this.#servedKey = key;
      log.info('accepted a desired state', {
        epoch: judged.accepted.epoch,
        revision: judged.accepted.revision,
        function_count: judged.accepted.desired.functions.length,
      });
      node.onAccepted(judged.accepted);
      return 0;
    }
    // Not stored: every revision from the stored one to this one has the same desired state.
    if (current !== null && judged.revision > current.revision)
      this.#accepted = { ...current, revision: judged.revision };
    const wasHeld = clock.monotonicMs() - this.#sentMs >= UNHELD_MS;
    const unheldMs = holdMs === 0 ? UNHELD_WAIT_MS : Math.max(judged.nextHeartbeatMs, UNHELD_WAIT_MS);
    await clock.sleep(wasHeld ? judged.nextHeartbeatMs : unheldMs, wake);
    return 0;
  }

  /** An answer that is signed needs no growing wait: its sender holds what this node has just refused. */
  async #refuse(judged: Refused, signal: AbortSignal): Promise<number> {
    this.#options.onHeartbeat('refused');
    this.#refusals.refused(judged);
    if (endsWithRebase(judged.reason)) return UNHELD_WAIT_MS;
    const waitMs = this.#backoffMs();
    return judged.reason === 'signature_invalid' && (await this.#joinsAgain(signal)) ? 0 : waitMs;
  }

  /**
   * Whether the node has joined anew. It does so where its control plane has been a stranger for a while, with
   * a token that it has not joined with: one that was left in a unit file gives the node to nobody. Credentials
   * that never worked are those of a join that a later one has replaced: they need neither.
   */
  async #joinsAgain(signal: AbortSignal): Promise<boolean> {
    const credentials = this.#credentials;
    if (credentials === null || this.#options.config.joinToken === null) return false;
    const isUnused = !this.#isKnown && this.accepted() === null;
    if (!isUnused && this.#refusals.strangers() < SYNC_TUNING.joinAgainRefusals) return false;
    const token = await this.#joinToken();
    if (!isUnused && sha256(token) === credentials.join_token_sha256) return false;
    this.#options.log.warn('the control plane is another one than before: joining it with the join token');
    return (await this.#join(token, signal)) !== null;
  }

  async #joinToken(): Promise<string> {
    const { nodeId, joinToken } = this.#options.config;
    if (joinToken !== null) return await joinToken();
    const advice = `start it once with --join-token "$(edge join-token --node ${nodeId})" to join again`;
    throw new Error(`this node has lost its credentials and keeps what it serves; ${advice}`);
  }

  /** Null where the join is refused for good. */
  async #join(token: string, signal: AbortSignal): Promise<Credentials | null> {
    const { config, log, failpoints } = this.#options;
    const { nodeId, popId, labels, edgeVersion } = config;
    const key = await this.#files.openKey();
    const named = { node_id: nodeId, public_key: key.publicKey };
    const proof = key.sign(joinProofText(token, named));
    const request = { ...named, pop_id: popId, labels, edge_version: edgeVersion, proof };
    const reply = await this.#client.join(request, token, signal);
    if (reply.kind === 'refused') return this.#refusedJoin(reply.message);
    const { answer } = reply;
    if (answer.node_id !== nodeId) throw new Error('the control plane joined another node');
    if (readControlKey(answer.control_public_key) === null) {
      throw new Error('the control plane gave no valid key');
    }
    await failpoints.reach('join_answered');
    const former = this.#servedKey === answer.control_public_key ? null : this.#servedKey;
    const credentials: Credentials = {
      ...answer,
      join_token_sha256: sha256(token),
      ...(former === null ? {} : { former_public_key: former }),
    };
    await this.#files.keepCredentials(credentials);
    this.#credentials = credentials;
    this.#key = null;
    this.#unbind();
    this.#refusals.over();
    log.info('joined the control plane');
    return credentials;
  }

  /** Who joins takes what the control plane says next, whatever the node has; until then it serves that. */
  #unbind(): void {
    this.#inherited = this.accepted();
    this.#accepted = null;
  }

  /** A node that serves what it has goes on with that. */
  #refusedJoin(message: string): null {
    if (this.accepted() !== null)
      throw new Error(`the control plane does not let this node join: ${message}`);
    const { log, onJoinRefused } = this.#options;
    log.error('the control plane refuses to let this node join', { reason: message });
    onJoinRefused(message);
    return null;
  }

  #send(
    report: NodeReport & Pick<HeartbeatRequest, 'hold_ms'>,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<HeartbeatReply> {
    const { nodeId, labels, edgeVersion } = this.#options.config;
    const refusal = this.#refusals.current();
    const request: HeartbeatRequest = {
      ...report,
      edge_version: edgeVersion,
      labels,
      applied_revision: this.#accepted?.revision ?? 0,
      applied_digest: this.#accepted?.digest ?? null,
      applied_epoch: this.#accepted?.epoch ?? null,
      ...(refusal === null ? {} : { refusal }),
      instance: this.#instance,
    };
    return this.#client.heartbeat(request, { nodeId, nodeToken: credentials.node_token }, signal);
  }

  #backoffMs(): number {
    const waitMs = backoffMs(this.#failures, RECONNECT, () => randomFraction(this.#options.random));
    this.#failures += 1;
    return waitMs;
  }
}

function sha256(text: string): string {
  return new Bun.CryptoHasher('sha256').update(text).digest('hex');
}

/** Ends with the loop that runs the step. */
function untilAborted(signal: AbortSignal): Promise<number> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(0);
    signal.addEventListener('abort', () => resolve(0), { once: true });
  });
}
