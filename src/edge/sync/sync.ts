// The agent of a node: joins once, then reports and learns its desired state by one held heartbeat after
// the other.
import type { KeyObject } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import type { RandomBytes } from '../../base/id.ts';
import { randomFraction } from '../../base/id.ts';
import { SYNC_TUNING } from '../../base/limits/sync.ts';
import type { Log } from '../../base/log.ts';
import type { Loop } from '../../base/loop.ts';
import { startLoop } from '../../base/loop.ts';
import { backoffMs } from '../../base/retry.ts';
import type { Labels } from '../../model/names.ts';
import type { HeartbeatRequest } from '../../model/protocol.ts';
import type { Accepted } from './accept.ts';
import { judgeAnswer, readControlKey } from './accept.ts';
import type { ControlClient } from './control_client.ts';
import type { Credentials, NodeFiles } from './node_files.ts';

export type Identity = { nodeId: string; popId: string; labels: Labels; edgeVersion: string };

/** What the node says of itself; the agent adds what it knows of the exchange. */
export type Report = Pick<HeartbeatRequest, 'status' | 'cpu_percent' | 'mem_bytes' | 'functions'>;

export type AgentOptions = {
  identity: Identity;
  /** Null when this node has joined before. */
  joinToken: string | null;
  /** How long the control plane may hold a heartbeat. */
  holdMs: number;
  /** The desired state of an earlier process, if there is one. */
  accepted: Accepted | null;
  credentials: Credentials | null;
  client: ControlClient;
  files: NodeFiles;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  report: () => Report;
  /** Called after the state is on disk. */
  onAccepted: (accepted: Accepted) => void;
  onHeartbeat: (result: 'ok' | 'refused' | 'unreachable' | 'unauthenticated') => void;
};

export type Agent = {
  /** The observed state has changed: what is held is given up and reported anew. */
  notify(): void;
  accepted(): Accepted | null;
  nodeToken(): string | null;
  /** Ends the loop and says `offline`, as well as it can within `graceMs`. */
  close(options: { graceMs: number }): Promise<void>;
};

const RECONNECT = { delayMsMin: SYNC_TUNING.reconnectMsMin, delayMsMax: SYNC_TUNING.reconnectMsMax };
/** A control plane that answers a held heartbeat at once, with nothing new, is not asked again at once. */
const UNHELD_MS = 100;
const UNHELD_WAIT_MS = 1_000;

export function startAgent(options: AgentOptions): Agent {
  const agent = new HeartbeatAgent(options);
  agent.start();
  return agent;
}

class HeartbeatAgent implements Agent {
  readonly #options: AgentOptions;
  #credentials: Credentials | null;
  #key: KeyObject | null = null;
  #accepted: Accepted | null;
  #changed = new AbortController();
  #failures = 0;
  #sentMs = Number.NEGATIVE_INFINITY;
  #loop: Loop | null = null;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#credentials = options.credentials;
    this.#accepted = options.accepted;
  }

  start(): void {
    const { clock, log } = this.#options;
    const failedMs = SYNC_TUNING.reconnectMsMin;
    this.#loop = startLoop({ name: 'heartbeat', clock, log, failedMs, step: (signal) => this.#step(signal) });
  }

  notify(): void {
    const before = this.#changed;
    this.#changed = new AbortController();
    before.abort();
  }

  accepted(): Accepted | null {
    return this.#accepted;
  }

  nodeToken(): string | null {
    return this.#credentials?.node_token ?? null;
  }

  async close({ graceMs }: { graceMs: number }): Promise<void> {
    await this.#loop?.close();
    if (this.#credentials === null) return;
    const { clock, log } = this.#options;
    const over = new AbortController();
    const late = clock.sleep(graceMs, over.signal).then(() => over.abort());
    try {
      await this.#send({ status: 'offline', hold_ms: 0 }, this.#credentials, over.signal);
    } catch (failure) {
      log.info('could not say goodbye to the control plane', { error: String(failure) });
    }
    over.abort();
    await late;
  }

  /** One exchange; returns the milliseconds until the next. */
  async #step(signal: AbortSignal): Promise<number> {
    const { log, onHeartbeat } = this.#options;
    try {
      return await this.#exchange(signal);
    } catch (failure) {
      if (signal.aborted) return 0;
      onHeartbeat('unreachable');
      const waitMs = this.#backoffMs();
      log.warn('the control plane cannot be reached; functions keep answering', {
        error: failure instanceof Error ? failure.message : 'unknown',
        retry_ms: Math.round(waitMs),
      });
      return waitMs;
    }
  }

  async #exchange(signal: AbortSignal): Promise<number> {
    const { clock, log, onHeartbeat } = this.#options;
    const credentials = this.#credentials ?? (await this.#join(signal));
    const changed = this.#changed.signal;
    await clock.sleep(Math.max(0, this.#sentMs + SYNC_TUNING.heartbeatGapMs - clock.monotonicMs()), signal);
    this.#sentMs = clock.monotonicMs();
    const either = AbortSignal.any([signal, changed]);
    const reply = await this.#send({ hold_ms: this.#options.holdMs }, credentials, either);
    if (reply.kind === 'aborted') return 0;
    if (reply.kind === 'rejected') {
      onHeartbeat(reply.status === 401 || reply.status === 403 ? 'unauthenticated' : 'refused');
      const waitMs = this.#backoffMs();
      log.error('the control plane does not take this heartbeat; functions keep answering', {
        status: reply.status,
        retry_ms: Math.round(waitMs),
      });
      return waitMs;
    }
    return await this.#take(reply.bytes, reply.signature, credentials, either);
  }

  async #take(
    bytes: Uint8Array,
    signature: string | null,
    credentials: Credentials,
    wake: AbortSignal,
  ): Promise<number> {
    const { clock, log, files, onHeartbeat, onAccepted, identity } = this.#options;
    this.#key ??= readControlKey(credentials.control_public_key);
    if (this.#key === null) throw new Error('the pinned key of the control plane is damaged');
    const held = this.#accepted;
    const judged = judgeAnswer({ bytes, signature, key: this.#key, nodeId: identity.nodeId, held });
    if (judged.kind === 'refused') {
      onHeartbeat('refused');
      const waitMs = this.#backoffMs();
      log.error('an answer of the control plane is refused', {
        reason: judged.reason,
        retry_ms: Math.round(waitMs),
      });
      return waitMs;
    }
    onHeartbeat('ok');
    this.#failures = 0;
    if (judged.kind === 'accepted') {
      await files.storeDesired(judged.accepted);
      this.#accepted = judged.accepted;
      log.info('accepted a desired state', {
        revision: judged.accepted.revision,
        function_count: judged.accepted.desired.functions.length,
      });
      onAccepted(judged.accepted);
      return 0;
    }
    if (held !== null && judged.revision > held.revision) {
      this.#accepted = { ...held, revision: judged.revision };
      await files.storeDesired(this.#accepted);
    }
    const wasHeld = clock.monotonicMs() - this.#sentMs >= UNHELD_MS;
    const waitMs = wasHeld ? judged.nextHeartbeatMs : Math.max(judged.nextHeartbeatMs, UNHELD_WAIT_MS);
    await clock.sleep(waitMs, wake);
    return 0;
  }

  async #join(signal: AbortSignal): Promise<Credentials> {
    const { client, files, identity, joinToken, log } = this.#options;
    if (joinToken === null) throw new Error('this node has not joined and has no join token');
    const { nodeId, popId, labels, edgeVersion } = identity;
    const request = { node_id: nodeId, pop_id: popId, labels, edge_version: edgeVersion };
    const credentials = await client.join(request, joinToken, signal);
    if (credentials.node_id !== nodeId) throw new Error('the control plane joined another node');
    if (readControlKey(credentials.control_public_key) === null)
      throw new Error('the control plane gave no valid key');
    await files.storeCredentials(credentials);
    this.#credentials = credentials;
    log.info('joined the control plane');
    return credentials;
  }

  #send(
    own: Pick<HeartbeatRequest, 'hold_ms'> & Partial<Report>,
    credentials: Credentials,
    signal: AbortSignal,
  ): ReturnType<ControlClient['heartbeat']> {
    const { client, identity, report } = this.#options;
    const request: HeartbeatRequest = {
      ...report(),
      ...own,
      edge_version: identity.edgeVersion,
      labels: identity.labels,
      applied_revision: this.#accepted?.revision ?? 0,
      applied_digest: this.#accepted?.digest ?? null,
    };
    return client.heartbeat(request, { nodeId: identity.nodeId, nodeToken: credentials.node_token }, signal);
  }

  #backoffMs(): number {
    const waitMs = backoffMs(this.#failures, RECONNECT, () => randomFraction(this.#options.random));
    this.#failures += 1;
    return waitMs;
  }
}
