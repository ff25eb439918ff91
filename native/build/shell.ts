// Runs programs, takes digests and prints progress for the steps of the build.
import { createHash } from 'node:crypto';

/** A step that cannot go on: `message` is a sentence for a person, `output` what a failed program printed. */
export class BuildError extends Error {
  readonly output: string;

  constructor(message: string, output = '') {
    super(message);
    this.name = 'BuildError';
    this.output = output;
  }
}

/** `env` is added to the environment of the build; `undefined` removes a variable. */
export type RunOptions = { cwd?: string; env?: Record<string, string | undefined> };

/** `output` is stdout and stderr together. */
export type Ended = { exitCode: number; output: string; stdout: string };

/** Runs a program with an empty stdin and waits until it has exited. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const child = Bun.spawn([...command], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    cwd: options.cwd ?? process.cwd(),
    env: { ...process.env, LC_ALL: 'C', ...options.env },
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, output: `${stdout}${stderr}`, stdout };
}

/** Runs a program and returns its stdout; a failure is a BuildError with `sentence` and all its output. */
export async function mustRun(
  sentence: string,
  command: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { exitCode, output, stdout } = await run(command, options);
  if (exitCode !== 0) throw new BuildError(sentence, output);
  return stdout;
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The inputs of a step by name. */
export type StampParts = Record<string, Uint8Array | string>;

/** A digest of all parts and their names, whatever their order. */
export function stampOf(parts: StampParts): string {
  const hash = createHash('sha256');
  for (const [name, part] of Object.entries(parts).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`${name} ${sha256(part)}\n`);
  }
  return hash.digest('hex');
}

/** What a step says of itself: `note` for its line, `skip` when there was nothing to do. */
export type StepReport = { note(text: string): void; skip(): void };

export type StepTime = { name: string; ms: number; note: string; isSkipped: boolean };

export type Steps = {
  /** Runs one step, measures it and returns what `work` returns. */
  step<T>(name: string, work: (report: StepReport) => Promise<T>): Promise<T>;
  /** The steps so far, in their order. */
  times(): StepTime[];
};

/** Writes a line about a step that takes longer than 500 ms, another every 10 s, and one when it ends. */
export function createSteps(write: (text: string) => void): Steps {
  const done: StepTime[] = [];
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
