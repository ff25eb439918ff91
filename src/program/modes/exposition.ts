// One text exposition of two registries, for a process that is a control plane and an edge at once.
import type { Metrics } from '../../base/metrics.ts';

/** `first` with another rendering: families of `second` follow, without those whose name `first` has. */
export function withMetrics(first: Metrics, second: Metrics): Metrics {
  return {
    ...first,
    async render() {
      const [own, more] = await Promise.all([first.render(), second.render()]);
      const names = new Set(familiesOf(own).map(nameOf));
      return [own.trimEnd(), ...familiesOf(more).filter((family) => !names.has(nameOf(family))), ''].join(
        '\n',
      );
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
