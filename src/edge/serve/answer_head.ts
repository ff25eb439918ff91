// The headers of answers: checked once, and kept for the next answer of a version that has the same ones.
import { isHostOwned, refuseResponseHead } from '../../model/http/headers.ts';
import type { ReadyTarget } from './routing.ts';

export type AnswerHead = { ok: true; headers: Headers } | { ok: false; refusal: string };

type Pairs = readonly (readonly [name: string, value: string])[];

export type AnswerHeads = {
  /**
   * The guest's headers and those that say who answered. The headers belong to the next call for this target:
   * a response must be made of them (which copies them) before that.
   */
  of(target: ReadyTarget, requestId: string, status: number, pairs: Pairs): AnswerHead;
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

/** Keeps one set of headers per target, for as long as the target is in use. */
export function createAnswerHeads(options: { bounds: { bytesMax: number; countMax: number } }): AnswerHeads {
  const kept = new WeakMap<ReadyTarget, Kept>();
  return {
    of(target, requestId, status, pairs) {
      const known = kept.get(target);
      if (known !== undefined && status >= 200 && status <= 599 && isSame(known.pairs, pairs)) {
        known.head.headers.set('x-request-id', requestId);
        return known.head;
      }
      const refusal = refuseResponseHead(status, pairs, options.bounds);
      if (refusal !== null) return { ok: false, refusal };
      const headers = new Headers([
        ['x-request-id', requestId],
        ['x-edge-function', target.functionId],
        ['x-edge-version', target.version],
      ]);
      for (const [name, value] of pairs) if (!isHostOwned(name)) headers.append(name, value);
      const head = { ok: true, headers } as const;
      kept.set(target, { pairs: pairs.map(([name, value]) => [name, value]), head });
      return head;
    },
  };
}
