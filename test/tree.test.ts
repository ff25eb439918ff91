// The picture of src/ in README.md shows the floors and rooms that exist.
import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, readRepository } from './tidy/repository.ts';

/** The rooms of each floor, sorted; a room inside a room as `wasm/parser/`. */
type Tree = Record<string, string[]>;

const BRANCHES = /^[ │├└─]+/;

/** The picture begins with the line of main.ts and ends before the first empty line. */
function pictureOf(readme: string): Tree {
  const lines = readme.split('\n');
  const start = lines.findIndex((line) => line.startsWith('    main.ts '));
  const picture = lines.slice(start, lines.indexOf('', start));
  const words = picture.map((line) => line.replace(BRANCHES, '').split(/ +/));
  const floors = words.filter(([first = '']) => first.endsWith('/'));
  return Object.fromEntries(
    floors.map(([floor = '', ...rest]) => {
      const end = rest.findIndex((word) => !word.endsWith('/'));
      return [floor, rest.slice(0, end < 0 ? rest.length : end)];
    }),
  );
}

function treeOf(paths: readonly string[]): Tree {
  const sources = paths.filter((path) => path.startsWith('src/') && path.endsWith('.ts'));
  const tree = new Map<string, Set<string>>();
  for (const path of sources) {
    const [floor, ...folders] = path.split('/').slice(1, -1);
    if (floor === undefined) continue;
    const rooms = tree.get(`${floor}/`) ?? new Set();
    tree.set(`${floor}/`, rooms);
    if (folders.length > 0) rooms.add(`${folders.join('/')}/`);
  }
  return Object.fromEntries(Array.from(tree, ([floor, rooms]) => [floor, [...rooms].toSorted()]));
}

describe('The picture of the tree', () => {
  test('in README.md shows every floor of src/ and its rooms, in order of their names', () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    expect(pictureOf(readme)).toEqual(treeOf(readRepository().paths));
  });

  test('is read through its branches and without its words', () => {
    const readme =
      'x\n\n    main.ts    the entry\n     └─ edge/  serve/  sync/  one node\n    base/  errors\n\ny/  z/\n';
    expect(pictureOf(readme)).toEqual({ 'edge/': ['serve/', 'sync/'], 'base/': [] });
  });

  test('is compared with folders that hold TypeScript, nested ones included', () => {
    const paths = ['src/main.ts', 'src/model/wasm/parser/a.ts', 'src/model/b.ts', 'src/edge/c/README.md'];
    expect(treeOf(paths)).toEqual({ 'model/': ['wasm/parser/'] });
  });
});
