// What every step of the build shares: running a program, digests, and progress that a person can follow.
import { createHash } from 'node:crypto';

/** A step that cannot go on; the message is one sentence for a person, `output` what the program printed. */
export class BuildError extends Error {
  readonly output: string;

  constructor(message: string, output = '') {
    super(message);
    this.name = 'BuildError';
    this.output = output;
  }
}

/** Runs a program to its end. `output` is stdout and stderr together; stdin is empty. */
export async function run(
  command: readonly string[],
  options: { cwd?: string; env?: Record<string, string | undefined> } = {},
): Promise<{ exitCode: number; output: string; stdout: string }> {
  const child = Bun.spawn([...command], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    env: { ...process.env, LC_ALL: 'C', ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, output: `${stdout}${stderr}`, stdout };
}

/** As `run`, but a failure is a BuildError with `sentence` and the program's own output. */
export async function mustRun(
  sentence: string,
  command: readonly string[],
  options: { cwd?: string; env?: Record<string, string | undefined> } = {},
): Promise<string> {
  const { exitCode, output, stdout } = await run(command, options);
  if (exitCode !== 0) throw new BuildError(sentence, output);
  return stdout;
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A digest over named parts, in which no part can pass for another. */
export function stampOf(parts: Record<string, Uint8Array | string>): string {
  const hash = createHash('sha256');
  for (const [name, part] of Object.entries(parts).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`${name} ${sha256(part)}\n`);
  }
  return hash.digest('hex');
}

export type Steps = {
  /** Runs one step and reports its time; `skip` says that nothing was to be done. */
  step<T>(name: string, work: (step: { note(text: string): void; skip(): void }) => Promise<T>): Promise<T>;
  times(): { name: string; ms: number; note: string; isSkipped: boolean }[];
};

/** Writes a line when a step begins to take longer than half a second, and one when it is done. */
export function createSteps(write: (text: string) => void): Steps {
  const done: ReturnType<Steps['times']> = [];
  return {
    async step(name, work) {
      const started = performance.now();
      let note = '';
      let isShown = false;
      let isSkipped = false;
      const show = (): void => {
        isShown = true;
        write(`  ${name} …\n`);
      };
      const timer = setTimeout(show, 500);
      const suffix = (): string => (note === '' ? '' : `, ${note}`);
      const seconds = (): number => (performance.now() - started) / 1_000;
      const waiting = setInterval(() => write(`  ${name} … ${seconds().toFixed(0)} s${suffix()}\n`), 10_000);
      try {
        return await work({
          note: (text) => void (note = text),
          skip() {
            note = 'unchanged';
            isSkipped = true;
          },
        });
      } finally {
        clearTimeout(timer);
        clearInterval(waiting);
        done.push({ name, ms: performance.now() - started, note, isSkipped });
        if (isShown) write(`  ${name}: ${seconds().toFixed(1)} s${suffix()}\n`);
      }
    },
    times: () => done,
  };
}
