// Holds each C header, its symbol table in TypeScript and the built library against each other.
import { describe, expect, test } from 'bun:test';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { EVENT } from '../src/engine/process/frames.ts';
import { EXIT } from '../src/engine/pool/exit.ts';
import { SLOT } from '../src/engine/ring/results.ts';
import { TAKEN } from '../src/engine/ring/answer.ts';
import { ENGINE_SYMBOLS, RING_SYMBOLS } from '../src/engine/ring/symbols.ts';
import { readDeclarations, readEnums, readExports } from './tidy/header.ts';
import { ROOT } from './tidy/repository.ts';

type SymbolTable = Readonly<Record<string, { readonly args: readonly string[]; readonly returns: string }>>;

const LIBRARIES: { header: string; library: string; symbols: SymbolTable }[] = [
  { header: 'ring.h', library: 'libedge_ring.so', symbols: RING_SYMBOLS },
  { header: 'engine.h', library: 'libedge_engine.so', symbols: ENGINE_SYMBOLS },
];

const headerText = (name: string): string => readFileSync(join(ROOT, 'native', name), 'utf8');

describe.each(LIBRARIES)('$header', ({ header, library, symbols }) => {
  test('declares what the symbol table has, with the same arguments and results', () => {
    const declared = Object.fromEntries(readDeclarations(headerText(header)));
    const tabled = Object.fromEntries(
      Object.entries(symbols).map(([name, { args, returns }]) => [name, { args: [...args], returns }]),
    );
    expect(tabled).toEqual(declared);
  });

  test(`declares what ${library} exports, and nothing else is exported`, () => {
    const path = join(ROOT, 'dist', 'stage', 'lib', library);
    if (!existsSync(path)) throw new Error(`${library} is not built: run \`bun build.ts\` first`);
    const exported = [...readExports(readFileSync(path))].toSorted();
    expect(exported).toEqual([...readDeclarations(headerText(header)).keys()].toSorted());
  });
});

describe('The other headers', () => {
  test('export nothing: what crosses the line stands in ring.h or engine.h', () => {
    const known = LIBRARIES.map(({ header }) => header);
    const others = readdirSync(join(ROOT, 'native')).filter(
      (name) => name.endsWith('.h') && !known.includes(name),
    );
    expect(others.filter((name) => readDeclarations(headerText(name)).size > 0)).toEqual([]);
  });
});

describe('The numbers of ring.h', () => {
  const enums = readEnums(headerText('ring.h'));

  test.each([
    ['edge_slot_state', 'EDGE_SLOT_', SLOT],
    ['edge_event_kind', 'EDGE_EVENT_', EVENT],
    ['edge_exit', 'EDGE_EXIT_', EXIT],
  ] as const)('are those of the TypeScript table of %s', (name, prefix, table) => {
    const camel = (key: string): string =>
      key.toLowerCase().replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
    const values = [...(enums.get(name) ?? [])].map(([key, value]) => [
      camel(key.replace(prefix, '')),
      value,
    ]);
    expect(Object.fromEntries(values)).toEqual({ ...table });
  });

  test('give a taken record as many words as the edge reads', () => {
    const words = /#define EDGE_TAKEN_WORDS (\d+)u/.exec(headerText('ring.h'))?.[1];
    expect(Number(words)).toBe(TAKEN.words);
  });
});

describe('The reader of headers', () => {
  test('reads pointers, results and lists over several lines, and no comment', () => {
    const header = `/* EDGE_API void no(void); */
      EDGE_API const char *name(void);
      EDGE_API int64_t f(const void *data,
                         uint32_t length, double x); // EDGE_API void neither(void);`;
    expect([...readDeclarations(header)]).toEqual([
      ['name', { args: [], returns: 'cstring' }],
      ['f', { args: ['ptr', 'u32', 'f64'], returns: 'i64' }],
    ]);
  });

  test('refuses a structure by value', () => {
    expect(() => readDeclarations('EDGE_API void f(struct edge_ring ring);')).toThrow('no plain kind');
  });

  test('counts enumerators as C does', () => {
    const enums = readEnums('enum a { A_X, A_Y = 5, A_Z /* , A_NO */ };');
    expect([...(enums.get('a') ?? [])]).toEqual([
      ['A_X', 0],
      ['A_Y', 5],
      ['A_Z', 6],
    ]);
  });
});
