// The two requests of a node to its control plane: join and heartbeat; bounded in time and in bytes.
import { Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import type { Clock } from '../../base/clock.ts';
import { within } from '../../base/deadline.ts';
import { SYNC_BOUNDS } from '../../base/limits/sync.ts';
import type { SendRequest } from '../send.ts';
import { readStream } from '../../base/streams.ts';
import type { HeartbeatRequest, JoinRequest } from '../../model/protocol.ts';
import { JoinAnswer } from '../../model/protocol.ts';

/** `aborted`: by the signal of the caller. */
export type HeartbeatReply =
  | { kind: 'answered'; bytes: Uint8Array; signature: string | null }
  | { kind: 'rejected'; status: number }
  | { kind: 'aborted' };

/** `refused`: for good, and `message` says why; the same request would be refused again. */
export type JoinReply = { kind: 'joined'; answer: JoinAnswer } | { kind: 'refused'; message: string };

export type ControlClient = {
  /** Rejects when the control plane does not answer in time, or cannot say yet. */
  join(request: JoinRequest, joinToken: string, signal: AbortSignal): Promise<JoinReply>;
  /** The control plane may hold its answer for `request.hold_ms`. Rejects when it does not answer in time. */
  heartbeat(
    request: HeartbeatRequest,
    node: { nodeId: string; nodeToken: string },
    signal: AbortSignal,
  ): Promise<HeartbeatReply>;
};

const joinCheck = TypeCompiler.Compile(JoinAnswer);
const Text = Type.String({ maxLength: 1_000 });
/** An error of the table, of a control plane or of an edge that was taken for one. */
const refusalCheck = TypeCompiler.Compile(
  Type.Object({
    error: Type.Object({
      message: Text,
      retryable: Type.Boolean(),
      details: Type.Optional(
        Type.Object({ fields: Type.Optional(Type.Array(Type.Object({ field: Text, message: Text }))) }),
      ),
    }),
  }),
);
const FIELDS_SHOWN_MAX = 5;
const JOIN_BYTES_MAX = 16 * 1_024;

type Post = { path: string; token: string; body: unknown; timeMs: number; signal: AbortSignal };

export function createControlClient(options: {
  cpUrl: string;
  controlFetch: SendRequest;
  clock: Clock;
}): ControlClient {
  const { cpUrl, controlFetch, clock } = options;

  const post = async <T>(
    { path, token, body, timeMs, signal }: Post,
    read: (response: Response) => Promise<T>,
  ): Promise<T | 'aborted'> => {
    const ended = new AbortController();
    const request = new Request(new URL(path, cpUrl).href, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      redirect: 'error',
      signal: AbortSignal.any([signal, ended.signal]),
    });
    try {
      const answer = await within(clock, timeMs, controlFetch(request).then(read), signal);
      if (answer !== 'late') return answer;
      if (signal.aborted) return 'aborted';
      throw new Error('the control plane did not answer in time');
    } catch (failure) {
      if (signal.aborted) return 'aborted';
      throw failure;
    } finally {
      ended.abort();
    }
  };

  return {
    async join(body, token, signal) {
      const path = '/api/v1/nodes/join';
      const timeMs = SYNC_BOUNDS.controlRequestMs;
      const reply = await post({ path, token, body, timeMs, signal }, readJoin);
      if (reply === 'aborted') throw new Error('the join was given up');
      return reply;
    },
    async heartbeat(body, { nodeId, nodeToken: token }, signal) {
      const path = `/api/v1/nodes/${encodeURIComponent(nodeId)}/heartbeat`;
      const timeMs = body.hold_ms + SYNC_BOUNDS.controlRequestMs;
      const reply = await post({ path, token, body, timeMs, signal }, readHeartbeat);
      return reply === 'aborted' ? { kind: 'aborted' } : reply;
    },
  };
}

async function readJoin(response: Response): Promise<JoinReply> {
  const { status } = response;
  const bytes = await readStream(response.body, JOIN_BYTES_MAX);
  const value = bytes === null ? null : parseJson(bytes);
  if (status === 200 || status === 201) {
    if (!joinCheck.Check(value)) throw new Error('the answer to the join is not well formed');
    return { kind: 'joined', answer: value };
  }
  const error = refusalCheck.Check(value) ? value.error : null;
  if (status === 404 && error !== null)
    return { kind: 'refused', message: 'There is no control plane at this URL: check --cp-url.' };
  if (error !== null && !error.retryable) {
    const fields = error.details?.fields?.slice(0, FIELDS_SHOWN_MAX) ?? [];
    const named = fields.map(({ field, message }) => ` ${field}: ${message}.`).join('');
    return { kind: 'refused', message: `${error.message}${named}` };
  }
  if (status === 401)
    return { kind: 'refused', message: 'The join token is refused: run `edge join-token`.' };
  throw new Error(`the join is answered with status ${status}`);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return null;
  }
}

async function readHeartbeat(response: Response): Promise<HeartbeatReply> {
  if (response.status !== 200) {
    await response.body?.cancel();
    return { kind: 'rejected', status: response.status };
  }
  const bytes = await readStream(response.body, SYNC_BOUNDS.answerBytesMax);
  if (bytes === null) throw new Error('the answer of the control plane is too large');
  return { kind: 'answered', bytes, signature: response.headers.get('x-edge-signature') };
}
