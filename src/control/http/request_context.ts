// What the control plane knows of a request before its handler runs: its id, and who calls.
import { CodedError } from '../../base/errors.ts';
import type { KeptAnswer } from '../../store/idempotency.ts';
import type { Caller } from '../auth/auth.ts';

/** Makes the row in which a reply is kept under the idempotency key of a request. */
export type Keep = (reply: { code: number; response: unknown }) => KeptAnswer;

/** `caller` is null where no token is needed, `keep` where the request has no idempotency key. */
export type RequestContext = {
  readonly requestId: string;
  readonly caller: Caller | null;
  readonly keep: Keep | null;
};

/** The contexts of the requests that run; each is forgotten with its request. */
export type RequestContexts = {
  set(request: Request, context: RequestContext): void;
  of(request: Request): RequestContext;
  /** The caller's name for the audit trail. Refuses `unauthenticated` where there is no caller. */
  actorOf(request: Request): string;
};

export function createRequestContexts(): RequestContexts {
  const contexts = new WeakMap<Request, RequestContext>();
  const of = (request: Request): RequestContext => {
    const context = contexts.get(request);
    if (context === undefined) throw new Error('a handler runs for a request without a context');
    return context;
  };
  return {
    set: (request, context) => void contexts.set(request, context),
    of,
    actorOf(request) {
      const { caller } = of(request);
      if (caller === null) throw new CodedError('unauthenticated');
      return caller.kind === 'admin' ? `admin:${caller.name}` : `node:${caller.nodeId}`;
    },
  };
}
