// Each rule about rooms finds the fault that it is for, and leaves alone what only looks like it.
import { describe, expect, test } from 'bun:test';
import type { Rule, SourceFile } from './repository.ts';
import { arrowsRule, doorsRule, foldersRule, guidesRule } from './rooms.ts';
import { createScan } from './tokens.ts';

const scan = createScan();
const file = (path: string, text: string): SourceFile => ({ path, text });
const found = (rule: Rule, ...files: SourceFile[]): string[] => rule(files).map(({ sentence }) => sentence);
const room = (name: string, text = ''): SourceFile => file(`src/edge/${name}`, text);
const HALL = [
  room('serve/serve.ts'),
  room('serve/respond.ts'),
  room('calls/kv/kv.ts'),
  room('calls/fetch.ts'),
];

describe('The rule of doors', () => {
  const doors = doorsRule(scan);
  const importing = (path: string, specifier: string): string[] =>
    found(doors, ...HALL, file(path, `import { x } from '${specifier}';`));

  test('lets in through the file that is named after the room', () => {
    expect(importing('src/edge/edge.ts', './serve/serve.ts')).toEqual([]);
    expect(importing('src/program/a.ts', '../edge/serve/serve.ts')).toEqual([]);
  });

  test('finds an import past the door, from another room, from beside and from above', () => {
    const sentence =
      'src/edge/serve/respond.ts is inside the room src/edge/serve/: import serve.ts, or make it a door.';
    expect(importing('src/edge/edge.ts', './serve/respond.ts')).toEqual([sentence]);
    expect(importing('src/edge/sync/sync.ts', '../serve/respond.ts')).toEqual([sentence]);
    expect(importing('src/program/a.ts', '../edge/serve/respond.ts')).toEqual([sentence]);
  });

  test('leaves the files of a room, and tests, free', () => {
    expect(importing('src/edge/serve/a.ts', './respond.ts')).toEqual([]);
    expect(importing('test/edge/a.test.ts', '../../src/edge/serve/respond.ts')).toEqual([]);
  });

  test('lets a nested room use the room around it, and only that one use the nested one', () => {
    expect(importing('src/edge/calls/kv/a.ts', '../fetch.ts')).toEqual([]);
    const guide = room('calls/README.md', 'Doors: every file.');
    const enter = (path: string): string[] =>
      found(doors, ...HALL, guide, room(path, "import '../calls/kv/kv.ts'; import '../calls/fetch.ts';"));
    expect(enter('calls/a.ts')).toEqual([]);
    expect(enter('serve/a.ts')).toEqual([
      'src/edge/calls/kv/kv.ts is inside the room src/edge/calls/: import fetch.ts, or make it a door.',
    ]);
  });

  test('takes the doors that the first line of the guide names instead', () => {
    const guide = room('serve/README.md', 'Doors: `respond.ts`, `head.ts`. How answers leave.\nMore.\n');
    const beside = room('edge.ts', "import './serve/respond.ts'; import './serve/serve.ts';");
    const [sentence, ...more] = found(doors, ...HALL, guide, beside);
    expect(sentence).toStartWith('src/edge/serve/serve.ts is inside the room src/edge/serve/: ');
    expect(sentence).toEndWith(': import respond.ts or head.ts, or make it a door.');
    expect(more).toEqual([]);
  });
});

describe('The rule of guides', () => {
  test('asks every room for a door', () => {
    const sentence = 'no door: name a file serve.ts, or begin README.md with "Door: `name.ts`.".';
    expect(found(guidesRule, room('serve/a.ts'), room('edge.ts'))).toEqual([sentence]);
    expect(found(guidesRule, room('serve/a.ts'), room('serve/README.md', 'About.\n'))).toEqual([sentence]);
    expect(found(guidesRule, room('serve/serve.ts'), file('src/base/id.ts', ''))).toEqual([]);
  });

  test('asks for doors that exist, in words that it can read', () => {
    const guided = (text: string): string[] =>
      found(guidesRule, room('serve/serve.ts'), room('serve/README.md', text));
    expect(guided('Door: `serve.ts`.\n')).toEqual([]);
    expect(guided('Doors: every file.\n\nEach stands alone.\n')).toEqual([]);
    expect(guided('Door: `gone.ts`.\n')).toEqual(['the door gone.ts does not exist: name one that does.']);
    expect(guided('Doors: serve.ts and others\n')).toEqual([
      'the first line of README.md names no doors: write "Doors: `a.ts`, `b.ts`." or "Doors: every file.".',
    ]);
    expect(guided(`Door: \`serve.ts\`.\n${'word '.repeat(200)}`)).toEqual([
      'README.md has more than 800 characters: a short paragraph is enough.',
    ]);
  });
});

describe('The rules of sizes', () => {
  const numbered = (folder: string, count: number): SourceFile[] =>
    Array.from({ length: count }, (_, at) => file(`${folder}/f${at}.ts`, ''));

  test('find a folder of src/ with more than 12 files', () => {
    expect(found(foldersRule, ...numbered('src/model', 12), ...numbered('test/model', 13))).toEqual([]);
    expect(found(foldersRule, ...numbered('src/model', 13), file('src/model/README.md', ''))).toEqual([
      '13 files, 12 at most: move some of them to a new room.',
    ]);
  });

  test('find a floor with more than 15 arrows between its rooms', () => {
    const rooms = 'abcd'.split('');
    const star = rooms.map((name) =>
      room(`${name}/${name}.ts`, rooms.map((other) => `import '../${other}/${other}.ts';`).join('\n')),
    );
    const beside = (targets: readonly string[]): SourceFile =>
      room(
        'edge.ts',
        targets.map((name) => `import './${name}/${name}.ts'; import './${name}/x.ts';`).join(''),
      );
    expect(found(arrowsRule(scan), ...star, beside(['a', 'b', 'c']))).toEqual([]);
    const [sentence] = found(arrowsRule(scan), ...star, beside(rooms));
    expect(sentence).toStartWith('16 arrows between its rooms, 15 at most: a -> b, a -> c, ');
    expect(sentence).toEndWith(', edge.ts -> c, edge.ts -> d.');
  });
});
