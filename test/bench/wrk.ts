// Runs the load generator wrk and reads its report.

export type Load = { requestsPerSecond: number; p50Ms: number; p99Ms: number; failed: number };

const UNITS: Record<string, number> = { us: 0.001, ms: 1, s: 1_000 };

function latency(text: string, percent: string): number {
  const found = new RegExp(`${percent}%\\s+([0-9.]+)(us|ms|s)`).exec(text);
  if (found === null) throw new Error(`wrk printed no ${percent}%: ${text}`);
  return Number(found[1]) * (UNITS[found[2] ?? ''] ?? Number.NaN);
}

/** Uses two threads, so that wrk is no bottleneck; `failed` counts answers but 2xx, and socket errors. */
export async function load(url: string, options: { connections: number; seconds: number }): Promise<Load> {
  const args = ['-t2', `-c${options.connections}`, `-d${options.seconds}s`, '--latency', url];
  if (Bun.which('wrk') === null) throw new Error('wrk is missing: install the Debian package wrk');
  const child = Bun.spawn(['wrk', ...args], { stdout: 'pipe', stderr: 'inherit' });
  const text = await new Response(child.stdout).text();
  const rate = /Requests\/sec:\s+([0-9.]+)/.exec(text)?.[1];
  if ((await child.exited) !== 0 || rate === undefined) throw new Error(`wrk failed: ${text}`);
  const bad = Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0);
  const socket = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text);
  const lost = socket === null ? 0 : socket.slice(1).reduce((sum, count) => sum + Number(count), 0);
  return {
    requestsPerSecond: Number(rate),
    p50Ms: latency(text, '50'),
    p99Ms: latency(text, '99'),
    failed: bad + lost,
  };
}

export function percentile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
