// Mutations: one transaction for the change that a request asks for and for the answer to it.
import type { Failpoints } from '../../base/failpoints/failpoints.ts';
import type { Operations, Store } from '../../store/store.ts';
import type { RequestContexts } from './request_context.ts';

/** What `status()` of Elysia makes: a status and the value of the body, undefined where there is none. */
export type Reply = { code: number; response: unknown };

export type Mutations = {
  /**
   * Runs `step` in one transaction and returns its reply. Under an idempotency key the reply commits with what
   * the step has written, so that a repetition gets it whatever happens in between. What the step throws
   * leaves nothing. It awaits nothing but operations, and a request has one mutation at most.
   */
  run<R extends Reply>(request: Request, step: (operations: Operations) => Promise<R>): Promise<R>;
};

export function createMutations(options: {
  store: Pick<Store, 'transact'>;
  contexts: RequestContexts;
  failpoints: Failpoints;
}): Mutations {
  const { store, contexts, failpoints } = options;
  return {
    async run(request, step) {
      const { keep } = contexts.of(request);
      const reply = await store.transact(async (operations) => {
        const made = await step(operations);
        if (keep !== null) await operations.idempotency.put(keep(made));
        await failpoints.reach('mutation_done');
        return made;
      });
      await failpoints.reach('mutation_committed');
      return reply;
    },
  };
}
