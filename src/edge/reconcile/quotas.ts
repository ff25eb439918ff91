// The quota of each project on this node.
import type { Clock } from '../../base/clock.ts';
import { createQuota, isQuotaIdle, type Quota, type QuotaLimits } from '../../model/rules/quota.ts';

export type ProjectQuotas = {
  /** The same object for the same project, for as long as it counts anything. */
  of(projectId: string): Quota;
  /** Forgets the idle quotas of all other projects. */
  keepOnly(projectIds: ReadonlySet<string>): void;
};

export function createProjectQuotas(options: { limits: QuotaLimits; clock: Clock }): ProjectQuotas {
  const { limits, clock } = options;
  const quotas = new Map<string, Quota>();
  return {
    of(projectId) {
      const quota = quotas.get(projectId) ?? createQuota(limits);
      quotas.set(projectId, quota);
      return quota;
    },
    keepOnly(projectIds) {
      const nowMs = clock.monotonicMs();
      for (const [id, quota] of quotas) {
        if (!projectIds.has(id) && isQuotaIdle(quota, nowMs)) quotas.delete(id);
      }
    },
  };
}
