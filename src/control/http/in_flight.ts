// The requests that run, so that closing can wait for them.
import type { Clock } from '../../base/clock.ts';
import { within } from '../../base/deadline.ts';
import { errorResponse } from '../../base/errors.ts';

export type Handle = (request: Request) => Promise<Response>;

export type InFlight = {
  /** Runs `handle`; refuses `shutting_down` once `drain` was called. */
  handle: Handle;
  /** Resolves once every running request is answered, or after `ms`. */
  drain(ms: number): Promise<void>;
};

export function createInFlight(options: { handle: Handle; clock: Clock }): InFlight {
  const { handle, clock } = options;
  const running = new Set<Promise<Response>>();
  let draining = false;
  return {
    async handle(request) {
      if (draining) return errorResponse('shutting_down', 'none');
      const response = handle(request);
      running.add(response);
      try {
        return await response;
      } finally {
        running.delete(response);
      }
    },
    async drain(ms) {
      draining = true;
      await within(clock, ms, Promise.allSettled(running));
    },
  };
}
