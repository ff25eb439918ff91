// One metrics page of two registries, for a process that is a control plane and an edge at once.
import type { Metrics } from '../../base/metrics.ts';

/** `first`, whose page also shows the families of `second`; of families with one name only `first`'s. */
export function mergeMetrics(first: Metrics, second: Metrics): Metrics {
  return {
    ...first,
    async render() {
      const [own, others] = await Promise.all([first.render(), second.render()]);
      const names = new Set(familiesOf(own).map(nameOf));
      const added = familiesOf(others).filter((family) => !names.has(nameOf(family)));
      return `${[own.trimEnd(), ...added].join('\n')}\n`;
    },
  };
}

/** Prometheus text format: a family starts with its `# HELP` line. */
function familiesOf(text: string): string[] {
  return text
    .split(/^(?=# HELP )/m)
    .map((family) => family.trim())
    .filter((family) => family !== '');
}

function nameOf(family: string): string {
  return /^# HELP (\S+)/.exec(family)?.[1] ?? '';
}
