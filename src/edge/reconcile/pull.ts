// Downloads an artifact: from the control plane or a presigned address, bounded, and checked against its
// digest.
import type { Clock } from '../../base/clock.ts';
import { SYNC_BOUNDS } from '../../base/limits/sync.ts';
import type { SendRequest } from '../../base/send.ts';
import type { DesiredFunction } from '../../model/protocol.ts';
import { readStream } from '../../base/streams.ts';
import { digestOf } from './cache.ts';

/**
 * `mismatch`: what came is not what was announced. `message` names no address, since a presigned one opens
 * the artifact.
 */
export type PullOutcome =
  { ok: true; bytes: Uint8Array } | { ok: false; reason: 'mismatch' | 'unreachable'; message: string };

export type Puller = {
  /** One attempt; those who ask for the same digest meanwhile share it. Never rejects. */
  pull(wanted: Pick<DesiredFunction, 'artifact_url' | 'sha256' | 'size_bytes'>): Promise<PullOutcome>;
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

const RELATIVE = /^\/(?!\/)[\x21-\x7e]*$/;

/** The token goes to the control plane only; an absolute address must carry its own proof. */
function requestFor(
  artifactUrl: string,
  options: PullerOptions,
  signal: AbortSignal,
): [SendRequest, Request] | null {
  if (RELATIVE.test(artifactUrl)) {
    const base = new URL(options.cpUrl);
    const url = new URL(artifactUrl, base);
    if (url.origin !== base.origin) return null;
    const token = options.nodeToken();
    const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
    return [options.controlFetch, new Request(url.href, { headers, signal, redirect: 'error' })];
  }
  if (!URL.canParse(artifactUrl)) return null;
  const url = new URL(artifactUrl);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return null;
  return [options.publicFetch, new Request(url.href, { signal, redirect: 'error' })];
}

async function download(
  wanted: Parameters<Puller['pull']>[0],
  options: PullerOptions,
  signal: AbortSignal,
): Promise<PullOutcome> {
  const refused = (message: string): PullOutcome => ({ ok: false, reason: 'mismatch', message });
  const made = requestFor(wanted.artifact_url, options, signal);
  if (made === null) return refused('the artifact has an address that is not allowed');
  const [send, request] = made;
  const response = await send(request);
  if (response.status !== 200) {
    await response.body?.cancel();
    return {
      ok: false,
      reason: 'unreachable',
      message: `the artifact was answered with status ${response.status}`,
    };
  }
  const bytes = await readStream(response.body, wanted.size_bytes);
  if (bytes === null) return refused(`the artifact is larger than ${wanted.size_bytes} bytes`);
  if (bytes.byteLength !== wanted.size_bytes) {
    return refused(`the artifact has ${bytes.byteLength} bytes instead of ${wanted.size_bytes}`);
  }
  if (digestOf(bytes) !== wanted.sha256) {
    return refused('the artifact does not have the digest that was announced');
  }
  return { ok: true, bytes };
}

export function createPuller(options: PullerOptions): Puller {
  const { clock, onPulled } = options;
  const flights = new Map<string, Promise<PullOutcome>>();
  const closing = new AbortController();

  const attempt = async (wanted: Parameters<Puller['pull']>[0]): Promise<PullOutcome> => {
    const over = new AbortController();
    const stop = AbortSignal.any([over.signal, closing.signal]);
    const late = clock.sleep(SYNC_BOUNDS.pullMs, stop).then((): PullOutcome => {
      const message = closing.signal.aborted ? 'the node is shutting down' : 'the download took too long';
      return { ok: false, reason: 'unreachable', message };
    });
    try {
      const outcome = await Promise.race([download(wanted, options, stop), late]);
      onPulled(outcome.ok ? 'ok' : 'failed', outcome.ok ? outcome.bytes.byteLength : 0);
      return outcome;
    } catch (failure) {
      onPulled('failed', 0);
      const reason = failure instanceof Error ? failure.name : 'unknown';
      return { ok: false, reason: 'unreachable', message: `the artifact could not be fetched (${reason})` };
    } finally {
      over.abort();
    }
  };

  return {
    pull(wanted) {
      const known = flights.get(wanted.sha256);
      if (known !== undefined) return known;
      const flight = attempt(wanted).finally(() => flights.delete(wanted.sha256));
      flights.set(wanted.sha256, flight);
      return flight;
    },
    close: () => closing.abort(),
  };
}
