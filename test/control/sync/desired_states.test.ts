// Desired states at one revision: when the facts are read again, and what of them.
import { describe, expect, test } from 'bun:test';
import { createDesiredStates } from '../../../src/control/sync/desired_states.ts';
import { defaultVersionSettings } from '../../../src/model/function.ts';
import type { Epochs } from '../../../src/model/rules/epoch.ts';
import type { FleetChange } from '../../../src/model/rules/fleet.ts';

const id = `fn_${'a'.repeat(26)}`;

type Change = FleetChange & { epochs: Epochs };

function changeTo(revision: number, version: string): Change {
  const versions = [{ version, settings: defaultVersionSettings, sha256: 'a'.repeat(64), size_bytes: 9 }];
  const deployments = [{ id: 'dep_1', version, rank: 1, pop_selector: null, target_pop: null }];
  const owner = { id, project_id: 'default', name: 'f', deployments, versions, routes: [] };
  const epochs = { current: `ep_${String(revision)}`, ended: new Map() };
  return {
    revision,
    functions: [owner],
    nodes: [{ id: 'n1', pop_id: 'p1', labels: {} }],
    deployed: null,
    epochs,
  };
}

describe('The desired states', () => {
  test('are read again only when the revision has risen, and then from where they were', async () => {
    const revisions = { version: 1 };
    const asked: (number | null)[] = [];
    const read = async (since: number | null): Promise<Change> => {
      asked.push(since);
      return changeTo(revisions.version + 10, `1.${revisions.version}.0`);
    };
    const states = createDesiredStates({ facts: { read }, revisions });
    await Promise.all([states.fleet(), states.fleet()]);
    expect((await states.fleet()).versionOn('n1', id)).toBe('1.1.0');
    expect(asked).toEqual([null]);
    revisions.version = 2;
    const [one, two] = await Promise.all([states.fleet(), states.fleet()]);
    expect([one.versionOn('n1', id), two.revision]).toEqual(['1.2.0', 12]);
    expect(states.epochs().current).toBe('ep_12');
    expect(asked).toEqual([null, 11]);
  });

  test('that could not be read are read again', async () => {
    let failures = 1;
    const read = async (): Promise<Change> => {
      failures -= 1;
      if (failures === 0) throw new Error('locked');
      return changeTo(1, '1.0.0');
    };
    const states = createDesiredStates({ facts: { read }, revisions: { version: 1 } });
    await expect(states.fleet()).rejects.toThrow('locked');
    expect((await states.fleet()).revision).toBe(1);
  });

  test('hold a commit that comes while they are read', async () => {
    const revisions = { version: 1 };
    const read = async (since: number | null): Promise<Change> => {
      const seen = revisions.version;
      if (since === null) revisions.version = 2;
      return changeTo(seen, `1.${seen}.0`);
    };
    const states = createDesiredStates({ facts: { read }, revisions });
    await states.fleet();
    expect((await states.fleet()).versionOn('n1', id)).toBe('1.2.0');
  });
});
