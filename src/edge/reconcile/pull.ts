// Downloads an artifact from the control plane or a presigned address, bounded, and verifies its digest.
import type { Clock } from '../../base/clock.ts';
import { runInSlices, sha256Of } from '../../base/concurrency.ts';
import { within } from '../../base/deadline.ts';
import { SYNC_BOUNDS } from '../../base/limits/sync.ts';
import type { SendRequest } from '../send.ts';
import { readStream } from '../../base/streams.ts';
import type { DesiredFunction } from '../../model/protocol.ts';

export type WantedArtifact = Pick<DesiredFunction, 'artifact_url' | 'sha256' | 'size_bytes'>;

/**
 * `mismatch`: what came is not what the desired state names. `message` never contains the address, since a
 * presigned one opens the artifact to everybody.
 */
export type PullOutcome =
  { ok: true; bytes: Uint8Array } | { ok: false; reason: 'mismatch' | 'unreachable'; message: string };

export type Puller = {
  /** One attempt; callers that ask for the same digest meanwhile share it. Never rejects. */
  pull(wanted: WantedArtifact): Promise<PullOutcome>;
  /** Ends the downloads that are running: their outcome is `unreachable`. */
  close(): void;
};

export type PullerOptions = {
  /** Carries requests to the control plane. */
  controlFetch: SendRequest;
  /** Carries requests to absolute addresses. */
  publicFetch: SendRequest;
  cpUrl: string;
  nodeToken: () => string | null;
  clock: Clock;
  onPulled: (result: 'ok' | 'failed', bytes: number) => void;
};

/** A path on the control plane: one slash, then printable ASCII. */
const CONTROL_PATH = /^\/(?!\/)[\x21-\x7e]*$/;

const mismatch = (message: string): PullOutcome => ({ ok: false, reason: 'mismatch', message });
const unreachable = (message: string): PullOutcome => ({ ok: false, reason: 'unreachable', message });

/** Null for an address that is not allowed. Only the control plane gets the token of the node. */
function requestFor(
  artifactUrl: string,
  options: PullerOptions,
  signal: AbortSignal,
): { send: SendRequest; request: Request } | null {
  if (CONTROL_PATH.test(artifactUrl)) {
    const base = new URL(options.cpUrl);
    const url = new URL(artifactUrl, base);
    if (url.origin !== base.origin) return null;
    const token = options.nodeToken();
    const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
    const request = new Request(url.href, { headers, signal, redirect: 'error' });
    return { send: options.controlFetch, request };
  }
  if (!URL.canParse(artifactUrl)) return null;
  const url = new URL(artifactUrl);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return null;
  return { send: options.publicFetch, request: new Request(url.href, { signal, redirect: 'error' }) };
}

async function download(
  wanted: WantedArtifact,
  options: PullerOptions,
  signal: AbortSignal,
): Promise<PullOutcome> {
  const allowed = requestFor(wanted.artifact_url, options, signal);
  if (allowed === null) return mismatch('the artifact has an address that is not allowed');
  const response = await allowed.send(allowed.request);
  if (response.status !== 200) {
    await response.body?.cancel();
    return unreachable(`the request for the artifact was answered with status ${response.status}`);
  }
  const bytes = await readStream(response.body, wanted.size_bytes);
  if (bytes === null) return mismatch(`the artifact is larger than ${wanted.size_bytes} bytes`);
  if (bytes.byteLength !== wanted.size_bytes) {
    return mismatch(`the artifact has ${bytes.byteLength} bytes instead of ${wanted.size_bytes}`);
  }
  const digest = await runInSlices(options.clock, sha256Of(bytes));
  if (digest !== wanted.sha256) return mismatch('the artifact has another digest than announced');
  return { ok: true, bytes };
}

export function createPuller(options: PullerOptions): Puller {
  const { clock, onPulled } = options;
  const running = new Map<string, Promise<PullOutcome>>();
  const closing = new AbortController();

  const attempt = async (wanted: WantedArtifact): Promise<PullOutcome> => {
    const ended = new AbortController();
    const stop = AbortSignal.any([ended.signal, closing.signal]);
    try {
      const { pullMs } = SYNC_BOUNDS;
      const outcome = await within(clock, pullMs, download(wanted, options, stop), closing.signal);
      if (outcome !== 'late') return outcome;
      return unreachable(closing.signal.aborted ? 'the node is shutting down' : 'the download took too long');
    } catch (failure) {
      const reason = failure instanceof Error ? failure.name : 'unknown';
      return unreachable(`the artifact could not be fetched (${reason})`);
    } finally {
      ended.abort();
    }
  };

  const pull = async (wanted: WantedArtifact): Promise<PullOutcome> => {
    const outcome = await attempt(wanted);
    running.delete(wanted.sha256);
    onPulled(outcome.ok ? 'ok' : 'failed', outcome.ok ? outcome.bytes.byteLength : 0);
    return outcome;
  };

  return {
    pull(wanted) {
      const shared = running.get(wanted.sha256) ?? pull(wanted);
      running.set(wanted.sha256, shared);
      return shared;
    },
    close: () => closing.abort(),
  };
}
