// The desired states of all nodes: brought up to date once per revision, by what has changed since.
import type { Epochs } from '../../model/rules/epoch.ts';
import { Fleet } from '../../model/rules/fleet.ts';
import type { Store } from '../../store/store.ts';
import type { Notifier } from './notifier.ts';

export type DesiredStates = {
  /** At the revision that `revisions` has reached, or a later one; read it in the tick that gets it. */
  fleet(): Promise<Omit<Fleet, 'update'>>;
  /** Those of the fleet that was read last. */
  epochs(): Epochs;
};

/** Reads what has changed only once `revisions` has risen. */
export function createDesiredStates(options: {
  facts: Pick<Store['facts'], 'read'>;
  revisions: Pick<Notifier, 'version'>;
}): DesiredStates {
  const { facts, revisions } = options;
  const fleet = new Fleet();
  let version = -1;
  let epochs: Epochs = { current: null, ended: new Map() };
  let update: Promise<void> | null = null;
  const catchUp = async (): Promise<void> => {
    const reached = revisions.version;
    const change = await facts.read(fleet.revision < 0 ? null : fleet.revision);
    fleet.update(change);
    ({ epochs } = change);
    version = reached;
  };
  return {
    async fleet() {
      const wanted = revisions.version;
      while (version < wanted) {
        update ??= catchUp().finally(() => (update = null));
        await update;
      }
      return fleet;
    },
    epochs: () => epochs,
  };
}
