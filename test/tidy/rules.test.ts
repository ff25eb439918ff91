// Each tidy rule finds the fault that it is for, and leaves alone what only looks like it.
import { describe, expect, test } from 'bun:test';
import { cyclesRule } from './cycles.ts';
import { exportsRule } from './exports.ts';
import { floorsRule } from './floors.ts';
import { errorTableFindings, hostsRule, topLevelFindings, untestedCodes } from './layout.ts';
import { nativeLengthsRule } from './native.ts';
import { packagesRule } from './packages.ts';
import type { Rule, SourceFile } from './repository.ts';
import { bansRule, captionsRule, namesRule, purityRule, stateRule } from './style.ts';
import { createScan } from './tokens.ts';

const scan = createScan();
const packages = packagesRule(scan, { dependencies: ['elysia'], devDependencies: ['fast-check'] });
const file = (path: string, text: string): SourceFile => ({ path, text });
const found = (rule: Rule, ...files: SourceFile[]): string[] => rule(files).map(({ sentence }) => sentence);
const body = (lines: number): string => '  step();\n'.repeat(lines);

/** A text with the fault, words of the finding, and a similar text without the fault. */
const CASES: [name: string, rule: Rule, path: string, wrong: string, words: string, right: string][] = [
  [
    'up',
    floorsRule(scan),
    'src/model/a.ts',
    "import { x } from '../store/b.ts';",
    'model/ imports src/store/b.ts',
    "import { x } from '../base/b.ts';",
  ],
  [
    'sideways',
    floorsRule(scan),
    'src/edge/a.ts',
    "import type { X } from '../control/b.ts';",
    'edge/ imports',
    "import type { X } from '../engine/b.ts';",
  ],
  [
    'later',
    floorsRule(scan),
    'src/cli/a.ts',
    "const x = await import('../edge/b.ts');",
    'cli/ imports',
    "const x = await import('./b.ts');",
  ],
  [
    'out of src',
    floorsRule(scan),
    'src/base/a.ts',
    "import '../../test/b.ts';",
    'src/ imports test/b.ts',
    "const text = `import '../../test/b.ts'`;",
  ],
  [
    'down past the wall',
    floorsRule(scan),
    'src/config/a.ts',
    "import { x } from '../program/b.ts';",
    'config/ imports src/program/b.ts',
    "import { x } from '../model/b.ts';",
  ],
  [
    'an unknown floor',
    floorsRule(scan),
    'src/services/a.ts',
    "import { x } from '../base/b.ts';",
    'services/ imports',
    "import { x } from './b.ts';",
  ],
  [
    'the program at once',
    floorsRule(scan),
    'src/main.ts',
    "import { start } from './program/program.ts';",
    'main.ts imports src/program/program.ts',
    "const it = (await import(name)) as typeof import('./program/program.ts');",
  ],
  [
    'the pool in the entry',
    floorsRule(scan),
    'src/main.ts',
    "const it = await import('./engine/pool/pool.ts');",
    'main.ts imports src/engine/pool/pool.ts',
    "import { a } from './config/inputs.ts'; await import('./engine/process/role_input.ts');",
  ],
  [
    'a cycle',
    cyclesRule(scan),
    'src/base/a.ts',
    "import type { A } from './a.ts';",
    'import cycle',
    "import type { A } from './b.ts';",
  ],
  [
    'far from home',
    packages,
    'src/cli/a.ts',
    "import { dlopen } from 'bun:ffi'; import { Elysia } from 'elysia';",
    'bun:ffi belongs',
    "// import { dlopen } from 'bun:ffi';",
  ],
  [
    'an unknown package',
    packages,
    'test/a.ts',
    "import x from 'left-pad/y';",
    'left-pad is not among',
    "import x from 'fast-check';",
  ],
  [
    'a test package in src',
    packages,
    'src/base/a.ts',
    "import x from 'fast-check';",
    'fast-check is not among',
    "import x from 'node:fs';",
  ],
  [
    'a lonely export',
    exportsRule(scan),
    'src/base/a.ts',
    'export const lonely = 1;',
    'no file imports lonely',
    'const lonely = 1;',
  ],
  [
    'a barrel',
    exportsRule(scan),
    'src/base/a.ts',
    "export * from './b.ts';",
    'an export of an import',
    'const all = [...b];',
  ],
  ['a wide line of C', nativeLengthsRule, 'native/a.c', 'x'.repeat(111), '111 columns', '🙂'.repeat(110)],
  ['a long C file', nativeLengthsRule, 'native/a.h', 'x\n'.repeat(401), '401 lines', 'x\n'.repeat(400)],
  [
    'a long C function',
    nativeLengthsRule,
    'native/a.c',
    `static int f(int a) {\n${body(69)}}\n`,
    'f has 71',
    `static int f(int a) {\n${body(68)}}\nstatic const int t[] = {\n${body(80)}};\n`,
  ],
  [
    'the clock',
    bansRule(scan),
    'src/edge/a.ts',
    'const now = Date.now();',
    'Date.now(',
    'const now = clock.Date.now();',
  ],
  [
    'a new date',
    bansRule(scan),
    'src/edge/a.ts',
    'const now = new Date();',
    'new Date()',
    'const then = new Date(ms);',
  ],
  [
    'chance',
    bansRule(scan),
    'test/a.ts',
    'const x = Math.random();',
    'Math.random',
    "const x = 'Math.random()';",
  ],
  [
    'the environment',
    bansRule(scan),
    'src/edge/a.ts',
    "const home = process.env['HOME'];",
    'process.env',
    'const home = options.process.env;',
  ],
  [
    'arguments',
    bansRule(scan),
    'src/main.ts',
    'const [a] = process.argv;',
    'process.argv',
    'const { argv } = inputsOfProcess();',
  ],
  [
    'output',
    bansRule(scan),
    'src/edge/a.ts',
    "process.stdout.write('x');",
    'process.stdout',
    "terminal.write('x');",
  ],
  [
    'waiting in model/',
    purityRule(scan),
    'src/model/a.ts',
    'const f = async () => 1;',
    'async in model/',
    'const o = { async: 1 };',
  ],
  [
    'files in model/',
    purityRule(scan),
    'src/model/a.ts',
    "import fs from 'node:fs';",
    'node:fs',
    "import { createHash } from 'node:crypto';",
  ],
  [
    'no caption',
    captionsRule,
    'src/base/a.ts',
    "import 'x';\n",
    'open the file with a sentence in one line',
    "// One sentence.\nimport 'x';\n",
  ],
  [
    'a caption of two lines',
    captionsRule,
    'src/base/a.ts',
    '// One sentence.\n// And another.\n',
    'no caption',
    '#!/usr/bin/env bun\n// One sentence.\n\n// And another.\n',
  ],
  [
    'half a sentence',
    captionsRule,
    'test/a.ts',
    '// one sentence\n',
    'no caption',
    '// config.ts holds settings.\n',
  ],
  [
    'a wide caption',
    captionsRule,
    'build.ts',
    `// ${'W'.repeat(107)}.\n`,
    'no caption',
    `// ${'W'.repeat(106)}.\n`,
  ],
  ['no caption in C', captionsRule, 'native/a.h', '#ifndef A\n', 'no caption', '/*\n * The ring.\n */\n'],
  [
    'a broken first line in C',
    captionsRule,
    'fixtures/a.c',
    '/* The ring\n   of slots. */\n',
    'no caption',
    '// The ring.\n// Of slots.\n',
  ],
  ['an empty name', namesRule, 'src/base/utils.ts', '', 'says nothing', ''],
  ['private', stateRule(scan), 'test/a.ts', 'class A { private b = 1; }', 'private', 'class A { #b = 1; }'],
  [
    'state',
    stateRule(scan),
    'src/base/a.ts',
    'let count = 0;',
    'let at module level',
    'function f() { let count = 0; }',
  ],
  [
    'a path of one machine',
    hostsRule,
    'README.md',
    `see ${['', 'work', 'shared', 'x'].join('/')}`,
    'one machine',
    'see work/shared',
  ],
  [
    'a package host',
    hostsRule,
    'build.ts',
    `fetch('https://${['registry', 'npmjs', 'org'].join('.')}/x')`,
    'is named',
    'the registry of npm',
  ],
];

describe('A tidy rule', () => {
  test.each(CASES)('finds %s and nothing else', (_, rule, path, wrong, words, right) => {
    expect(found(rule, file(path, wrong)).join('\n')).toContain(words);
    const after = found(rule, file(path.replace('utils', 'clock'), right));
    expect(after.filter((sentence) => !sentence.includes('imported nowhere'))).toEqual([]);
  });

  test('finds a cycle of three files', () => {
    const files = ['a', 'b', 'c'].map((name, at) =>
      file(`src/base/${name}.ts`, `import './${'bca'[at]}.ts';`),
    );
    expect(found(cyclesRule(scan), ...files)).toHaveLength(1);
  });

  test('takes an export as used when one name of it is imported, in code or in a type', () => {
    const made = file(
      'src/base/a.ts',
      'export const one = 1; export type Two = 2; export const three = 3; export function* four() {}',
    );
    const one = file(
      'src/base/b.ts',
      "import { type Two, one as first } from './a.ts'; type T = typeof import('./a.ts').three;",
    );
    expect(found(exportsRule(scan), made, one)).toEqual([
      'no file imports four: drop the word export, or the code.',
    ]);
  });

  test('finds a dependency that no file imports', () => {
    expect(found(packages, file('src/base/a.ts', ''))).toEqual([
      'the dependency elysia is imported nowhere in src/: remove it.',
    ]);
  });

  test('finds strangers at the top and in src/', () => {
    const findings = topLevelFindings([
      'README.md',
      '.ci/run',
      'docs/a.md',
      'src/utils/a.ts',
      'src/base/id.ts',
    ]);
    expect(findings.map(({ path }) => path)).toEqual(['docs', 'src/utils']);
  });

  test('finds codes without a test', () => {
    const files = [
      file('test/a.test.ts', "expect(code).toBe('queue_full')"),
      file('src/a.ts', "'not_ready'"),
    ];
    expect(untestedCodes(['queue_full', 'not_ready'], files).map(({ sentence }) => sentence)).toEqual([
      'no test names the code not_ready: write the test in which it is the answer.',
    ]);
  });

  test('finds a code with a status, a name or a message out of line, or one that stands twice', () => {
    const entries = { Bad_code: { status: 418, message: 'half a sentence', retryable: false } };
    const part = { name: 'an edge', statuses: [503], entries };
    expect(errorTableFindings([part, part]).length).toBe(7);
  });
});

describe('The scan', () => {
  test('tells code from strings, templates, expressions in templates, comments and patterns', () => {
    const tokens = scan(
      file('a.ts', "const a = `x ${b ? `y ${{ c }.c}` : '}'} z` / 2; // end\nconst d = /`'\"[/]/g;"),
    );
    expect(tokens.filter(({ kind }) => kind === 'name').map(({ text }) => text)).toEqual([
      'a',
      'b',
      'c',
      'c',
      'd',
    ]);
    expect(tokens.filter(({ kind }) => kind === 'regex')).toHaveLength(1);
    expect(tokens.some(({ text }) => text.includes('end'))).toBe(false);
    expect(tokens.at(-1)).toMatchObject({ text: ';', line: 2, depth: 0 });
  });
});
