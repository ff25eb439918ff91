// The two calls of a node to its control plane: join and heartbeat; bounded in time and in bytes.
import { TypeCompiler } from '@sinclair/typebox/compiler';
import type { Clock } from '../../base/clock.ts';
import { SYNC_BOUNDS } from '../../base/limits/sync.ts';
import type { HeartbeatRequest, JoinRequest } from '../../model/protocol.ts';
import { JoinAnswer } from '../../model/protocol.ts';
import { readStream } from '../../base/streams.ts';
import type { Fetch } from '../reconcile/pull.ts';

export type HeartbeatReply =
  | { kind: 'answered'; bytes: Uint8Array; signature: string | null }
  | { kind: 'rejected'; status: number }
  | { kind: 'aborted' };

export type ControlClient = {
  /** Rejects when the control plane cannot be reached or does not take the token. */
  join(request: JoinRequest, joinToken: string, signal: AbortSignal): Promise<JoinAnswer>;
  /** Held by the control plane for `request.hold_ms` at most; rejects when it cannot be reached. */
  heartbeat(
    request: HeartbeatRequest,
    node: { nodeId: string; nodeToken: string },
    signal: AbortSignal,
  ): Promise<HeartbeatReply>;
};

const joinCheck = TypeCompiler.Compile(JoinAnswer);
const JOIN_BYTES_MAX = 16 * 1_024;

export function createControlClient(options: {
  cpUrl: string;
  controlFetch: Fetch;
  clock: Clock;
}): ControlClient {
  const { cpUrl, controlFetch, clock } = options;

  /** A carrier that does not listen to the signal is left behind when it aborts. */
  const post = async <T>(
    call: { path: string; token: string; body: unknown; lastsMs: number; signal: AbortSignal },
    take: (response: Response) => Promise<T>,
  ): Promise<T | 'aborted'> => {
    const over = new AbortController();
    const stop = AbortSignal.any([call.signal, over.signal]);
    const request = new Request(new URL(call.path, cpUrl).href, {
      method: 'POST',
      headers: { authorization: `Bearer ${call.token}`, 'content-type': 'application/json' },
      body: JSON.stringify(call.body),
      redirect: 'error',
      signal: stop,
    });
    const end = clock.sleep(call.lastsMs, stop).then((): 'aborted' => {
      if (call.signal.aborted) return 'aborted';
      throw new Error('the control plane did not answer in time');
    });
    const exchange = controlFetch(request).then(take);
    exchange.catch(() => {});
    end.catch(() => {});
    try {
      return await Promise.race([exchange, end]);
    } catch (failure) {
      if (call.signal.aborted) return 'aborted';
      throw failure;
    } finally {
      over.abort();
    }
  };

  return {
    async join(body, token, signal) {
      const call = { path: '/api/v1/nodes/join', token, body, lastsMs: SYNC_BOUNDS.controlRequestMs, signal };
      const answer: unknown = await post(call, async (response): Promise<unknown> => {
        if (response.status !== 200 && response.status !== 201) throw new Error(`status ${response.status}`);
        const bytes = await readStream(response.body, JOIN_BYTES_MAX);
        return bytes === null ? null : JSON.parse(Buffer.from(bytes).toString('utf8'));
      });
      if (!joinCheck.Check(answer)) throw new Error('the answer to the join is not well formed');
      return answer;
    },
    async heartbeat(body, { nodeId, nodeToken }, signal) {
      const path = `/api/v1/nodes/${encodeURIComponent(nodeId)}/heartbeat`;
      const lastsMs = body.hold_ms + SYNC_BOUNDS.controlRequestMs;
      const reply = await post({ path, token: nodeToken, body, lastsMs, signal }, async (response) => {
        if (response.status !== 200) {
          await response.body?.cancel();
          return { kind: 'rejected', status: response.status } as const;
        }
        const bytes = await readStream(response.body, SYNC_BOUNDS.answerBytesMax);
        if (bytes === null) throw new Error('the answer of the control plane is too large');
        return { kind: 'answered', bytes, signature: response.headers.get('x-edge-signature') } as const;
      });
      return reply === 'aborted' ? { kind: 'aborted' } : reply;
    },
  };
}
