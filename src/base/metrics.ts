// Prometheus metrics with a bounded number of series; only this file uses the client library.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { EDGE_BOUNDS } from './limits/edge.ts';

export type CounterSeries = { inc(by?: number): void };
export type GaugeSeries = { set(value: number): void };
export type HistogramSeries = { observe(value: number): void };

/**
 * One metric. `series` returns the same object for the same label values, so that a hot path can keep it.
 * After `seriesMax` label sets, new ones share the series whose labels are all `__overflow__`.
 */
export type Family<S> = { series(...values: string[]): S };

export type Reading = { labels?: Record<string, string>; value: number };

type Naming = { name: string; help: string; labels?: readonly string[]; seriesMax?: number };

/** One registry. Names follow the conventions of Prometheus: base units, and `_total` on counters. */
export type Metrics = {
  counter(naming: Naming): Family<CounterSeries>;
  gauge(naming: Naming): Family<GaugeSeries>;
  /** `buckets` are upper bounds in the unit of the name, ascending. */
  histogram(naming: Naming & { buckets: readonly number[] }): Family<HistogramSeries>;
  /** A metric whose values are read at each `render`; readings after the first `seriesMax` are left out. */
  collected(naming: Naming & { kind: 'counter' | 'gauge'; read: () => Iterable<Reading> }): void;
  /** Drops every series whose label `label` has this value, for things that are gone. */
  forget(label: string, value: string): void;
  readonly contentType: string;
  /** The text exposition format. */
  render(): Promise<string>;
};

const OVERFLOW_LABEL = '__overflow__';

const SEPARATOR = '\u0000';

function createFamily<S>(options: {
  labels: readonly string[];
  seriesMax: number;
  open: (values: string[]) => S;
}): Family<S> & { forget(at: number, value: string): string[][] } {
  const { labels, seriesMax, open } = options;
  const held = new Map<string, S>();
  const take = (values: string[]): S => {
    const key = values.join(SEPARATOR);
    const known = held.get(key);
    if (known !== undefined) return known;
    if (held.size >= seriesMax && values.some((value) => value !== OVERFLOW_LABEL)) {
      return take(labels.map(() => OVERFLOW_LABEL));
    }
    const series = open(values);
    held.set(key, series);
    return series;
  };
  return {
    series: (...values) => take(values),
    forget(at, value) {
      const gone = [...held.keys()]
        .map((key) => key.split(SEPARATOR))
        .filter((values) => values[at] === value);
      for (const values of gone) held.delete(values.join(SEPARATOR));
      return gone;
    },
  };
}

const configure = ({
  name,
  help,
  labels = [],
}: Naming): { name: string; help: string; labelNames: string[] } => {
  return { name, help, labelNames: [...labels] };
};

type Put = (labels: Record<string, string>, value: number) => void;

/** Replaces the values of a collected metric with fresh readings. */
function fillFrom(read: () => Iterable<Reading>, seriesMax: number): (reset: () => void, put: Put) => void {
  return (reset, put) => {
    reset();
    let count = 0;
    for (const { labels = {}, value } of read()) {
      if (count >= seriesMax) return;
      count += 1;
      put(labels, value);
    }
  };
}

export function createMetrics(options: { defaults?: Record<string, string> } = {}): Metrics {
  const registry = new Registry();
  if (options.defaults !== undefined) registry.setDefaultLabels(options.defaults);
  const forgetters: ((label: string, value: string) => void)[] = [];

  const family = <S>(
    naming: Naming,
    metric: { labels(...values: string[]): S; remove(...values: string[]): void },
  ): Family<S> => {
    const labels = naming.labels ?? [];
    const { seriesMax = EDGE_BOUNDS.metricSeriesMax } = naming;
    const made = createFamily({ labels, seriesMax, open: (values) => metric.labels(...values) });
    forgetters.push((label, value) => {
      const at = labels.indexOf(label);
      if (at >= 0) for (const values of made.forget(at, value)) metric.remove(...values);
    });
    return made;
  };

  return {
    counter: (naming) => family(naming, new Counter({ ...configure(naming), registers: [registry] })),
    gauge: (naming) => family(naming, new Gauge({ ...configure(naming), registers: [registry] })),
    histogram: (naming) => {
      const buckets = [...naming.buckets];
      return family(naming, new Histogram({ ...configure(naming), buckets, registers: [registry] }));
    },
    collected({ kind, read, seriesMax = EDGE_BOUNDS.metricSeriesMax, ...naming }) {
      const config = { ...configure(naming), registers: [registry] };
      const fill = fillFrom(read, seriesMax);
      if (kind === 'gauge') {
        const gauge: Gauge = new Gauge({
          ...config,
          collect: () =>
            fill(
              () => gauge.reset(),
              (labels, value) => gauge.set(labels, value),
            ),
        });
        return;
      }
      const counter: Counter = new Counter({
        ...config,
        collect: () =>
          fill(
            () => counter.reset(),
            (labels, value) => counter.inc(labels, value),
          ),
      });
    },
    forget(label, value) {
      for (const forget of forgetters) forget(label, value);
    },
    contentType: registry.contentType,
    render: () => registry.metrics(),
  };
}
