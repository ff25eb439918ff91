// The first guest of the README: its command compiles it, and it answers what the README says.
import { expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { freePort, start, temporaryDirectory, until, WAIT_MS } from './harness.ts';

const ROOT = resolve(import.meta.dir, '../..');

/** The indented block of the README that begins with this line, without its indentation. */
function block(first: string): string[] {
  const lines = readFileSync(join(ROOT, 'README.md'), 'utf8').split('\n');
  const from = lines.indexOf(`    ${first}`);
  const to = lines.findIndex((line, at) => at > from && !line.startsWith('    '));
  if (from < 0) throw new Error(`README.md has no block that begins with ${first}`);
  return lines.slice(from, to).map((line) => line.slice(4));
}

/** The commands of a block, and the output that follows each. */
function session(lines: readonly string[]): { command: string; output: string[] }[] {
  const steps: { command: string; output: string[] }[] = [];
  for (const line of lines) {
    if (line.startsWith('$ ')) steps.push({ command: line.slice(2), output: [] });
    else steps.at(-1)?.output.push(line);
  }
  return steps;
}

/** The compiler alone takes seconds of a processor that others use too. */
test(
  'The first guest of the README compiles and answers as shown',
  async () => {
    using directory = temporaryDirectory();
    const source = block('// you.ts');
    expect(source.length).toBeLessThanOrEqual(10);
    writeFileSync(join(directory.path, 'you.ts'), source.join('\n'));
    const [compile, , call] = session(block('$ npx asc you.ts -O --runtime stub --use abort= -o you.wasm'));
    const [tool, program, ...args] = compile?.command.split(' ') ?? [];
    expect([tool, program]).toEqual(['npx', 'asc']);
    const asc = Bun.spawnSync(
      [process.execPath, join(ROOT, 'node_modules/assemblyscript/bin/asc.js'), ...args],
      {
        cwd: directory.path,
        stderr: 'pipe',
      },
    );
    expect(asc.stderr.toString()).toBe('');
    const port = await freePort();
    const running = start(['run', 'you.wasm', '--listen', `127.0.0.1:${port}`], { cwd: directory.path });
    try {
      const shown = new URL(call?.command.split(' ')[1] ?? '');
      const url = `http://127.0.0.1:${port}${shown.pathname}`;
      const answer = await until('the guest answers', async () => {
        const response = await fetch(url).catch(() => null);
        return response?.status === 200 ? await response.text() : undefined;
      });
      expect(answer).toBe(`${call?.output.join('\n')}\n`);
    } finally {
      await running.close();
    }
  },
  2 * WAIT_MS,
);
