// Header, symbol table and built library say the same of every function that crosses the line.
import { describe, expect, test } from 'bun:test';
import { dlopen, type FFIFunction } from 'bun:ffi';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WORKER_SLOTS } from '../../../src/engine/ring/geometry.ts';
import { ENGINE_SYMBOLS, RING_SYMBOLS } from '../../../src/engine/ring/symbols.ts';
import { libraryDir } from '../harness.ts';

type Signature = { args: string[]; returns: string };

/** How a C type of the headers crosses bun:ffi. */
function crossing(type: string): string {
  const plain = type.replace(/\b(const|struct)\b/g, '').trim();
  if (plain === 'char *') return 'cstring';
  if (plain.includes('*')) return 'ptr';
  const known: Record<string, string> = { void: 'void', int32_t: 'i32', uint32_t: 'u32' };
  const found = known[plain];
  if (found === undefined) throw new Error(`the headers may not use the type ${type}`);
  return found;
}

function declaredIn(header: string): Record<string, Signature> {
  const text = readFileSync(join(import.meta.dir, '../../../native', header), 'utf8');
  const declarations = text.matchAll(/^EDGE_API ([\w ]+?\*?) ?(\*?)(\w+)\(([^)]*)\);/gm);
  return Object.fromEntries(
    [...declarations].map(([, type = '', star = '', name = '', list = '']) => {
      const args = list === 'void' ? [] : list.split(',').map((arg) => arg.trim().replace(/\w+$/, '').trim());
      return [name, { args: args.map(crossing), returns: crossing(`${type} ${star}`.trim()) }];
    }),
  );
}

test('A worker has as many slots on both sides', () => {
  const text = readFileSync(join(import.meta.dir, '../../../native/ring.h'), 'utf8');
  expect(/^#define EDGE_WORKER_SLOTS (\d+)u$/m.exec(text)?.[1]).toBe(String(WORKER_SLOTS));
});

describe.each([
  ['ring.h', 'libedge_ring.so', RING_SYMBOLS],
  ['engine.h', 'libedge_engine.so', ENGINE_SYMBOLS],
] as const)('%s, its table and %s', (header, library, table) => {
  test('declare the same functions with the same types', () => {
    const written = Object.entries(table).map(([name, { args, returns }]) => [
      name,
      { args: [...args], returns },
    ]);
    expect(Object.fromEntries(written)).toEqual(declaredIn(header));
  });

  test('are exported by the library', () => {
    if (library === 'libedge_ring.so')
      dlopen(join(libraryDir(), library), table as Record<string, FFIFunction>);
    const exported = readFileSync(join(libraryDir(), library)).toString('latin1');
    for (const name of Object.keys(table)) expect(exported.includes(`\0${name}\0`)).toBe(true);
  });
});
