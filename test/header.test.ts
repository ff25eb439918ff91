// Holds each C header, what TypeScript repeats of it, and the built library against each other.
import { dlopen, type FFIFunction } from 'bun:ffi';
import { describe, expect, spyOn, test } from 'bun:test';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { COMPILE_BOUNDS } from '../src/base/limits/compile.ts';
import { FUNCTION_DEFAULTS } from '../src/base/limits/function.ts';
import { POOL_BOUNDS } from '../src/base/limits/pool.ts';
import { REQUEST_BOUNDS } from '../src/base/limits/request.ts';
import { COMPILE_EXIT } from '../src/engine/code/verdict.ts';
import { EXIT } from '../src/engine/pool/exit.ts';
import { encodeStartBlock } from '../src/engine/pool/start_block.ts';
import { PREFACE } from '../src/engine/process/engine_socket.ts';
import { PARTS, STATES } from '../src/engine/wall/parts.ts';
import { EVENT, EVENT_WORD, EXIT_WAYS } from '../src/engine/process/frames.ts';
import {
  GENERATION_MAX,
  HINT,
  LAYOUT_VERSION,
  PAGE_BYTES,
  PART,
  PHASE,
  WORKER_SLOTS,
} from '../src/engine/ring/geometry.ts';
import { SUBJECT_BYTES, TAKEN } from '../src/engine/ring/answer.ts';
import { decodeLogRecords } from '../src/engine/ring/log_records.ts';
import { REFUSAL, RESULT_ANSWER, SLOT } from '../src/engine/ring/results.ts';
import { bindRingLibrary, type RingSymbols } from '../src/engine/ring/ring.ts';
import { ENGINE_SYMBOLS } from '../src/engine/process/symbols.ts';
import { RING_SYMBOLS } from '../src/engine/ring/symbols.ts';
import { defaultVersionSettings } from '../src/model/function.ts';
import { FORBIDDEN_FIELDS } from '../src/model/http/headers.ts';
import { parseHeader, readExports, readHeader } from './tidy/header.ts';
import { ROOT } from './tidy/repository.ts';

type SymbolTable = Readonly<Record<string, { readonly args: readonly string[]; readonly returns: string }>>;

const LIBRARY_DIR = join(ROOT, 'dist', 'stage', 'lib');
const LIBRARIES: { header: string; library: string; symbols: SymbolTable }[] = [
  { header: 'ring_library.h', library: 'libedge_ring.so', symbols: RING_SYMBOLS },
  { header: 'engine.h', library: 'libedge_engine.so', symbols: ENGINE_SYMBOLS },
];

function pathOf(library: string): string {
  const path = join(LIBRARY_DIR, library);
  if (!existsSync(path)) throw new Error(`${library} is not built: run \`bun build.ts\` first`);
  return path;
}

describe.each(LIBRARIES)('$header', ({ header, library, symbols }) => {
  const { functions } = readHeader(header);

  test('declares what the symbol table has, with the same arguments and results', () => {
    const tabled = Object.fromEntries(
      Object.entries(symbols).map(([name, { args, returns }]) => [name, { args: [...args], returns }]),
    );
    expect(tabled).toEqual(Object.fromEntries(functions));
  });

  test(`declares what ${library} exports, and nothing else is exported`, () => {
    const exported = [...readExports(readFileSync(pathOf(library)))].toSorted();
    expect(exported).toEqual([...functions.keys()].toSorted());
  });
});

test('The symbol table of libedge_ring.so opens it', () => {
  const { symbols } = dlopen(pathOf('libedge_ring.so'), RING_SYMBOLS as Record<string, FFIFunction>);
  expect(Object.keys(symbols).toSorted()).toEqual(Object.keys(RING_SYMBOLS).toSorted());
});

describe('The other headers', () => {
  test('export nothing: what crosses the line stands in ring_library.h or engine.h', () => {
    const known = LIBRARIES.map(({ header }) => header);
    const others = readdirSync(join(ROOT, 'native')).filter(
      (name) => name.endsWith('.h') && !known.includes(name),
    );
    expect(others.filter((name) => readHeader(name).functions.size > 0)).toEqual([]);
  });
});

const ring = readHeader('ring.h', 'ring_library.h');
const wall = readHeader('wall.h');

const camel = (key: string): string =>
  key.toLowerCase().replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

describe('The numbers of wall.h', () => {
  test.each([
    ['edge_wall_part', 'EDGE_WALL_', PARTS],
    ['edge_wall_state', 'EDGE_WALL_', STATES],
  ] as const)('are the places of the TypeScript list of %s', (name, prefix, list) => {
    const names = [...(wall.enums.get(name) ?? [])].map(([key, place]) => [
      key.replace(prefix, '').toLowerCase(),
      place,
    ]);
    expect(names).toEqual(list.map((part, place) => [part, place]));
    expect(wall.number('EDGE_WALL_PARTS')).toBe(PARTS.length);
  });
});

describe('The numbers of ring.h', () => {
  const { words: takenWords, ...takenPlaces } = TAKEN;
  const ways = Object.fromEntries(EXIT_WAYS.map((way, number) => [camel(way), number]));

  test.each([
    ['edge_part', 'EDGE_PART_', PART],
    ['edge_slot_state', 'EDGE_SLOT_', SLOT],
    ['edge_taken', 'EDGE_TAKEN_', takenPlaces],
    ['edge_refusal', 'EDGE_REFUSAL_', REFUSAL],
    ['edge_hint', 'EDGE_HINT_', HINT],
    ['edge_preface', 'EDGE_PREFACE_', PREFACE],
    ['edge_event_kind', 'EDGE_EVENT_', EVENT],
    ['edge_how', 'EDGE_HOW_', ways],
    ['edge_phase', 'EDGE_PHASE_', PHASE],
    ['edge_exit', 'EDGE_EXIT_', EXIT],
    ['edge_compile_exit', 'EDGE_COMPILE_', COMPILE_EXIT],
  ] as const)('are those of the TypeScript table of %s', (name, prefix, table) => {
    const values = [...(ring.enums.get(name) ?? [])].map(([key, value]) => [
      camel(key.replace(prefix, '')),
      value,
    ]);
    expect(Object.fromEntries(values)).toEqual({ ...table });
  });

  test.each([
    ['EDGE_LAYOUT_VERSION', LAYOUT_VERSION],
    ['EDGE_WORKERS_MAX', POOL_BOUNDS.nodeWorkersMax],
    ['EDGE_WORKER_SLOTS', WORKER_SLOTS],
    ['EDGE_GENERATION_MAX', GENERATION_MAX],
    ['EDGE_PAGE', PAGE_BYTES],
    ['EDGE_PARTS', Object.keys(PART).length],
    ['EDGE_TAKEN_WORDS', takenWords],
    ['EDGE_RESULT_ANSWER', RESULT_ANSWER],
    ['EDGE_SUBJECT_BYTES', SUBJECT_BYTES],
  ])('give %s the value that TypeScript has', (name, value) => {
    expect(ring.number(name)).toBe(value);
  });

  test('bound the log levels that TypeScript takes', () => {
    const record = (level: number): Uint8Array => new Uint8Array(Uint32Array.of(level, 0).buffer);
    const last = ring.number('EDGE_LOG_ERROR');
    expect(decodeLogRecords(record(last), 0)).toEqual({ lines: [{ level: last, text: '' }], dropped: 0 });
    expect(decodeLogRecords(record(last + 1), 0)).toEqual({ lines: [], dropped: 1 });
  });
});

test('A compile child has room for the compiled file that the edge takes', () => {
  const { number } = readHeader('compile.h');
  expect(number('EDGE_COMPILE_FILE_BYTES_MAX')).toBe(COMPILE_BOUNDS.fileBytesMax);
});

test('A worker refuses the header names that the edge refuses', () => {
  const source = readFileSync(join(ROOT, 'native', 'request.c'), 'utf8');
  const [, list = ''] = /FORBIDDEN\[\] = \{([^}]*)\}/.exec(source) ?? [];
  const names = [...list.matchAll(/"([^"]+)"/g)].map(([, name]) => name);
  expect(names.toSorted()).toEqual(Object.values(FORBIDDEN_FIELDS).flat().toSorted());
});

describe('A ring', () => {
  const part = PAGE_BYTES;
  const geometry = {
    slots: WORKER_SLOTS,
    requestHeadBytes: part,
    requestBodyBytes: part,
    responseHeadBytes: part,
    responseBodyBytes: part,
    logBytes: part,
  };

  /** The functions of the real library, which a test may replace. */
  const openSymbols = (): RingSymbols => ({ ...dlopen(pathOf('libedge_ring.so'), RING_SYMBOLS).symbols });

  test('is refused by a library of another layout version', () => {
    const symbols = openSymbols();
    expect(symbols.edge_ring_layout_version()).toBe(ring.number('EDGE_LAYOUT_VERSION'));
    spyOn(symbols, 'edge_ring_layout_version').mockReturnValue(LAYOUT_VERSION + 1);
    const open = spyOn(symbols, 'edge_ring_open');
    expect(() => bindRingLibrary(symbols).open(geometry)).toThrow(
      `libedge_ring.so has ring layout ${LAYOUT_VERSION + 1}, this program has ${LAYOUT_VERSION}`,
    );
    expect(open).not.toHaveBeenCalled();
  });

  test('is drained of as many slots at a time as it has records', () => {
    const symbols = openSymbols();
    const drain = spyOn(symbols, 'edge_ring_drain');
    const opened = bindRingLibrary(symbols).open(geometry);
    expect(opened.next()).toBeNull();
    opened.close();
    expect(drain.mock.calls.map(([, max]) => max)).toEqual([ring.number('EDGE_TAKEN_MAX')]);
  });
});

test('An event of the zygote has the words of struct edge_event, in their order', () => {
  const { words, ...places } = EVENT_WORD;
  const names = (ring.structures.get('edge_event') ?? []).map(camel);
  expect(Object.fromEntries(names.map((name, place) => [name, place]))).toEqual({ ...places });
  expect(names).toHaveLength(words);
});

describe('The start block', () => {
  const names = ring.structures.get('edge_start') ?? [];
  const wordsOf = (block: Uint8Array): Record<string, number> => {
    const view = new DataView(block.buffer);
    return Object.fromEntries(names.map((name, index) => [name, view.getUint32(index * 4, true)]));
  };

  test('has the words of struct edge_start, then the entrypoint, then the environment', () => {
    const settings = {
      ...defaultVersionSettings,
      env: { A: '1', B: 'x\0y' },
      isolation: 'reuse',
      max_reuse: 9,
    } as const;
    const block = encodeStartBlock(settings, { allocator: '__new', memoryPagesMin: 3 });
    expect(wordsOf(block)).toEqual({
      memory_pages: FUNCTION_DEFAULTS.memoryPages,
      isolation: 1,
      max_reuse: 9,
      allocator: 4,
      memory_pages_min: 3,
      response_cap: REQUEST_BOUNDS.responseCapBytes,
      host_calls_max: REQUEST_BOUNDS.hostCallsMax,
      log_lines_max: REQUEST_BOUNDS.logLinesMax,
      stack_bytes: POOL_BOUNDS.workerStackBytes,
      data_overhead_bytes: POOL_BOUNDS.workerOverheadBytes,
      entrypoint_len: 6,
      env_len: 9,
    });
    expect(Buffer.from(block).toString('latin1', names.length * 4)).toBe('handleA=1\0B=xy\0');
  });

  test.each([
    ['none', 'EDGE_ALLOCATOR_NONE'],
    ['alloc', 'EDGE_ALLOCATOR_ALLOC'],
    ['malloc', 'EDGE_ALLOCATOR_MALLOC'],
    ['cabi_realloc', 'EDGE_ALLOCATOR_CABI_REALLOC'],
    ['__new', 'EDGE_ALLOCATOR_NEW'],
  ] as const)('names the allocator %s as the header does', (allocator, name) => {
    const block = encodeStartBlock(defaultVersionSettings, { allocator, memoryPagesMin: 1 });
    expect(wordsOf(block)['allocator']).toBe(ring.number(name));
  });

  test.each([
    ['clean', 'EDGE_ISOLATION_CLEAN'],
    ['reuse', 'EDGE_ISOLATION_REUSE'],
  ] as const)('names the isolation %s as the header does', (isolation, name) => {
    const settings = { ...defaultVersionSettings, isolation };
    const block = encodeStartBlock(settings, { allocator: 'none', memoryPagesMin: 1 });
    expect(wordsOf(block)['isolation']).toBe(ring.number(name));
  });
});

describe('The reader of headers', () => {
  test('reads pointers, results and lists over several lines, and no comment', () => {
    const { functions } = parseHeader(`/* EDGE_API void no(void); */
      EDGE_API const char *name(void);
      EDGE_API int64_t f(const void *data,
                         uint32_t length, double x); // EDGE_API void neither(void);`);
    expect([...functions]).toEqual([
      ['name', { args: [], returns: 'cstring' }],
      ['f', { args: ['ptr', 'u32', 'f64'], returns: 'i64' }],
    ]);
  });

  test('refuses a structure by value', () => {
    expect(() => parseHeader('EDGE_API void f(struct edge_ring ring);')).toThrow('no plain kind');
  });

  test('counts enumerators as C does', () => {
    const { enums, number } = parseHeader('enum a { A_X, A_Y = 5, A_Z /* , A_NO */ };');
    expect([...(enums.get('a') ?? [])]).toEqual([
      ['A_X', 0],
      ['A_Y', 5],
      ['A_Z', 6],
    ]);
    expect(number('A_Z')).toBe(6);
  });

  test('takes the numbers of defines, and refuses a name that has none', () => {
    const { number } = parseHeader('#define A 12u\n#define B 0xffu /* c */\n#define C (A * B)\n');
    expect([number('A'), number('B')]).toEqual([12, 255]);
    expect(() => number('C')).toThrow('no number C');
  });

  test('lists the words of a structure in their order, and leaves out one that holds something else', () => {
    const { structures } = parseHeader(
      'struct a { uint32_t x, y; /* z */ int32_t w; };\nstruct b { uint32_t x; char y[4]; };',
    );
    expect([...structures]).toEqual([['a', ['x', 'y', 'w']]]);
  });
});
