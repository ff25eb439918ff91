// The headers of answers: checked once, and reused while a version keeps answering with the same ones.
import { isHostOwned, refuseResponseHead } from '../../model/http/headers.ts';
import type { ReadyVersion } from './routing.ts';

export type AnswerHead = { ok: true; headers: Headers } | { ok: false; refusal: string };

type Pairs = readonly (readonly [name: string, value: string])[];

export type AnswerHeads = {
  /**
   * The guest's headers and those that say who answered. The next call for the same version changes them, so
   * the caller makes its response (which copies them) before that.
   */
  of(ready: ReadyVersion, requestId: string, status: number, pairs: Pairs): AnswerHead;
};

type Kept = { pairs: Pairs; head: { ok: true; headers: Headers } };

function isSame(a: Pairs, b: Pairs): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i += 1) {
    const left = a[i];
    const right = b[i];
    if (left?.[0] !== right?.[0] || left?.[1] !== right?.[1]) return false;
  }
  return true;
}

/** Keeps one set of headers for each version that is in use. */
export function createAnswerHeads(options: { bounds: { bytesMax: number; countMax: number } }): AnswerHeads {
  const kept = new WeakMap<ReadyVersion, Kept>();
  return {
    of(ready, requestId, status, pairs) {
      const known = kept.get(ready);
      if (known !== undefined && status >= 200 && status <= 599 && isSame(known.pairs, pairs)) {
        known.head.headers.set('x-request-id', requestId);
        return known.head;
      }
      const refusal = refuseResponseHead(status, pairs, options.bounds);
      if (refusal !== null) return { ok: false, refusal };
      const headers = new Headers([
        ['x-request-id', requestId],
        ['x-edge-function', ready.functionId],
        ['x-edge-version', ready.version],
      ]);
      for (const [name, value] of pairs) if (!isHostOwned(name)) headers.append(name, value);
      const head = { ok: true, headers } as const;
      kept.set(ready, { pairs: pairs.map(([name, value]) => [name, value]), head });
      return head;
    },
  };
}
