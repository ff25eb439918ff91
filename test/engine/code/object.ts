// Assembles a small shared object section by section, so that a test can get any part of it wrong.

export type TestSymbol = {
  name: string;
  section: number | string;
  type?: number;
  address?: number;
  size?: number;
};

export type TestObject = {
  machine?: number;
  kind?: number;
  /** Pairs of the dynamic table; its end mark is added. */
  dynamic?: readonly (readonly [tag: number, value: number])[];
  symbols?: readonly TestSymbol[];
  /** Replaces fields of sections by name, or adds sections. */
  sections?: Readonly<Record<string, Partial<TestSection>>>;
  segments?: readonly TestSegment[];
};

export type TestSection = {
  type: number;
  flags: number;
  address: number;
  size: number;
  bytes: Uint8Array;
  link: number;
  entryBytes: number;
};
export type TestSegment = {
  type: number;
  flags: number;
  offset?: number;
  address?: number;
  fileBytes?: number;
  memoryBytes?: number;
};

const [WRITE, ALLOC, EXECUTE] = [1, 2, 4];
export const TEXT = { type: 1, flags: ALLOC | EXECUTE } as const;

/** The text is `ret` sixteen times, and the module is `guest`. */
const BASE: Readonly<Record<string, Partial<TestSection>>> = {
  '.rodata': {
    type: 1,
    flags: ALLOC,
    address: 0x400,
    bytes: Uint8Array.from([1, 0, 0, 0, 9, 9, 9, 9, 7, 7]),
  },
  '.text': { ...TEXT, address: 0x1000, bytes: new Uint8Array(16).fill(0xc3) },
  '.bss': { type: 8, flags: ALLOC | WRITE, address: 0x2000, size: 8 },
};

export const SYMBOLS: readonly TestSymbol[] = [
  { name: 'version', section: '.rodata', type: 1, address: 0x400, size: 4 },
  { name: 'wasm.code', section: '.rodata', type: 1, address: 0x404, size: 4 },
  { name: 'intrinsics', section: '.bss', type: 1, address: 0x2000, size: 8 },
  { name: 't0', section: '.text', type: 2, address: 0x1000, size: 4 },
  { name: 'f0', section: '.text', type: 2, address: 0x1004, size: 4 },
];

const SEGMENTS: readonly TestSegment[] = [
  { type: 1, flags: 4 },
  { type: 1, flags: 5 },
  { type: 1, flags: 6 },
];

/** A complete object for x86-64 with the changes of `parts`. */
export function objectOf(parts: TestObject = {}): Uint8Array {
  const { dynamic = [[5, 0]], kind = 3, machine = 62, segments = SEGMENTS, symbols = SYMBOLS } = parts;
  const strings = createStrings();
  const named: Record<string, Partial<TestSection>> = { '': { type: 0 }, ...BASE };
  for (const [name, changes] of Object.entries(parts.sections ?? {}))
    named[name] = { ...named[name], ...changes };
  const order = [...Object.keys(named), '.dynamic', '.dynsym', '.strtab'];
  const indexOf = (section: number | string): number =>
    typeof section === 'number' ? section : order.indexOf(section);
  const table = symbols.map((symbol) => symbolBytes(symbol, indexOf(symbol.section), strings));
  const sections: [string, Partial<TestSection>][] = [
    ...Object.entries(named),
    ['.dynamic', { type: 6, flags: 3, address: 0x3000, bytes: words([...dynamic.flat(), 0, 0]) }],
    [
      '.dynsym',
      { type: 11, link: order.length - 1, entryBytes: 24, bytes: joined([new Uint8Array(24), ...table]) },
    ],
  ];
  const names = [...sections.map(([name]) => name), '.strtab'].map((name) => strings.add(name));
  sections.push(['.strtab', { type: 3, bytes: strings.bytes() }]);
  return layOut({ kind, machine, names, sections, segments });
}

function layOut(parts: {
  kind: number;
  machine: number;
  names: readonly number[];
  sections: readonly (readonly [string, Partial<TestSection>])[];
  segments: readonly TestSegment[];
}): Uint8Array {
  const { kind, machine, names, sections, segments } = parts;
  const segmentsAll = [...segments, { type: 2, flags: 6 }];
  let offset = 64 + segmentsAll.length * 56;
  const places = sections.map(([, { bytes }]) => {
    const place = offset;
    offset += bytes?.length ?? 0;
    return place;
  });
  const headers = sections.map(([, section], at) => {
    const {
      address = 0,
      bytes,
      entryBytes = 0,
      flags = 0,
      link = 0,
      size = bytes?.length ?? 0,
      type = 0,
    } = section;
    const place = places[at] ?? 0;
    return joined([
      halves([names[at] ?? 0, type]),
      words([flags, address, place, size]),
      halves([link, 0]),
      words([1, entryBytes]),
    ]);
  });
  const dynamicAt = sections.findIndex(([name]) => name === '.dynamic');
  const dynamicBytes = sections[dynamicAt]?.[1].bytes?.length ?? 0;
  const programs = segmentsAll.map((segment) => {
    const own = segment.type === 2 ? { offset: places[dynamicAt] ?? 0, fileBytes: dynamicBytes } : {};
    const { address = 0, fileBytes = 0, flags, memoryBytes = fileBytes, type } = { ...segment, ...own };
    const start = 'offset' in own ? own.offset : (segment.offset ?? 0);
    return joined([halves([type, flags]), words([start, address, address, fileBytes, memoryBytes, 8])]);
  });
  const head = new DataView(new ArrayBuffer(64));
  [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1].forEach((byte, at) => head.setUint8(at, byte));
  for (const [at, value] of [
    [16, kind],
    [18, machine],
    [52, 64],
    [54, 56],
    [56, segmentsAll.length],
    [58, 64],
    [60, sections.length],
    [62, sections.length - 1],
  ] as const)
    head.setUint16(at, value, true);
  head.setUint32(20, 1, true);
  head.setBigUint64(32, 64n, true);
  head.setBigUint64(40, BigInt(offset), true);
  const contents = sections.map(([, { bytes }]) => bytes ?? new Uint8Array(0));
  return joined([new Uint8Array(head.buffer), ...programs, ...contents, ...headers]);
}

function symbolBytes(symbol: TestSymbol, section: number, strings: Strings): Uint8Array {
  const { address = 0, name, size = 0, type = 0 } = symbol;
  const head = new DataView(new ArrayBuffer(8));
  head.setUint32(0, strings.add(name), true);
  head.setUint8(4, 0x10 | type);
  head.setUint16(6, section, true);
  return joined([new Uint8Array(head.buffer), words([address, size])]);
}

type Strings = { add(text: string): number; bytes(): Uint8Array };

function createStrings(): Strings {
  let all = '\0';
  return {
    add(text) {
      const at = all.length;
      all += `${text}\0`;
      return at;
    },
    bytes: () => new TextEncoder().encode(all),
  };
}

const joined = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const words = (values: readonly number[]): Uint8Array =>
  new Uint8Array(BigUint64Array.from(values, BigInt).buffer);
const halves = (values: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
