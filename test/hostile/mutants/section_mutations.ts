// Mutations of whole sections and of their items: limits, imports, exports, types, segments.
import { leb } from '../../../src/model/wasm/leb.ts';
import type { ModuleReader } from '../../../src/model/wasm/parser/reader.ts';
import type { Mutation } from './byte_mutations.ts';
import type { Chance } from './chance.ts';
import { contentsOf, itemsOf, joined, putTogether, SECTION, takeApart, withSection } from './layout.ts';

const VALUE_TYPES = [0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f];
const PAGES = [0, 1, 2, 16, 255, 256, 257, 4_096, 65_536, 65_537, 2 ** 32 - 1];
const ELEMENTS = [0, 1, 2, 1_000, 100_000, 100_001, 2 ** 31, 2 ** 32 - 1];
const KNOWN_NAMES =
  'memory handle alloc malloc __new cabi_realloc _initialize _start log abort env_get request_header ' +
  'request_path response_header response_write response_status fd_write fd_read poll_oneoff proc_exit ' +
  'random_get path_open sock_send toString __proto__ constructor wasmedge name';
const NAMES = [...KNOWN_NAMES.split(' '), '', 'a\0b', 'a\r\nb', '\u{1f600}', 'x'.repeat(1_025)];

const skipName = (reader: ModuleReader): void => reader.skip(reader.u32());
const nameBytes = (name: string): number[] => {
  const bytes = [...new TextEncoder().encode(name)];
  return leb(bytes.length).concat(bytes);
};

const swapSections: Mutation = (bytes, chance) => {
  const sections = takeApart(bytes);
  const [one, two] = [chance.below(sections.length), chance.below(sections.length)];
  const [first, second] = [sections[one], sections[two]];
  if (first === undefined || second === undefined) return bytes;
  return putTogether(bytes, sections.with(one, second).with(two, first));
};

const repeatSection: Mutation = (bytes, chance) => {
  const sections = takeApart(bytes);
  const section = sections[chance.below(sections.length)];
  if (section === undefined) return bytes;
  return putTogether(bytes, sections.toSpliced(chance.below(sections.length), 0, section));
};

const dropSection: Mutation = (bytes, chance) =>
  putTogether(bytes, takeApart(bytes).toSpliced(chance.below(12), 1));

const takeSection: Mutation = (bytes, chance, other) => {
  const theirs = takeApart(other);
  const section = theirs[chance.below(theirs.length)];
  return section === undefined ? bytes : withSection(bytes, section.id, section.contents);
};

const cutSection: Mutation = (bytes, chance) => {
  const sections = takeApart(bytes);
  const at = chance.below(sections.length);
  const section = sections[at];
  if (section === undefined) return bytes;
  const contents = section.contents.subarray(0, chance.below(section.contents.length));
  return putTogether(bytes, sections.with(at, { ...section, contents }));
};

const addCustom: Mutation = (bytes, chance) => {
  const sections = takeApart(bytes);
  const contents = Uint8Array.from([
    ...nameBytes(chance.pick(NAMES)),
    ...bytes.subarray(0, chance.below(64)),
  ]);
  return putTogether(bytes, sections.toSpliced(chance.below(sections.length + 1), 0, { id: 0, contents }));
};

/** The limits of a memory or a table: a flag, a minimum and mostly a maximum. */
function limits(sizes: readonly number[], chance: Chance): number[] {
  const flag = chance.once(8) ? chance.below(8) : chance.below(2);
  return [flag, ...leb(chance.pick(sizes)), ...(flag % 2 === 1 ? leb(chance.pick(sizes)) : [])];
}

const memoryLimits: Mutation = (bytes, chance) =>
  withSection(bytes, SECTION.memory, [1, ...limits(PAGES, chance)]);

const tableLimits: Mutation = (bytes, chance) => {
  const tables = Array.from({ length: 1 + chance.below(chance.once(8) ? 18 : 3) }, () => [
    chance.pick([0x70, 0x70, 0x6f]),
    ...limits(ELEMENTS, chance),
  ]);
  return withSection(bytes, SECTION.table, joined(tables));
};

/** Another value type in the types of functions, or in the types of globals. */
const confuseType: Mutation = (bytes, chance) => {
  const id = chance.pick([SECTION.type, SECTION.global]);
  const contents = Uint8Array.from(contentsOf(bytes, id) ?? []);
  const places = Array.from(contents.keys()).filter((at) => VALUE_TYPES.includes(contents[at] ?? 0));
  if (places.length === 0) return bytes;
  contents[chance.pick(places)] = chance.pick(VALUE_TYPES);
  return withSection(bytes, id, contents);
};

const renameImport: Mutation = (bytes, chance) => {
  const items = itemsOf(bytes, SECTION.import, (reader) => {
    skipName(reader);
    skipName(reader);
    reader.byte();
    reader.u32();
  });
  if (items === null || items.length === 0) return bytes;
  const at = chance.below(items.length);
  const item = items[at] ?? new Uint8Array();
  const module = chance.pick(['env', 'wasi_snapshot_preview1', 'wasi_unstable', '']);
  const start = 1 + (item[0] ?? 0);
  const kept = chance.once(2) ? item.subarray(0, start) : nameBytes(module);
  const type = item.subarray(start + 1 + (item[start] ?? 0));
  const renamed = [...kept, ...nameBytes(chance.pick(NAMES)), ...type];
  return withSection(
    bytes,
    SECTION.import,
    joined(chance.once(8) ? [...items, renamed] : items.with(at, Uint8Array.from(renamed))),
  );
};

const renameExport: Mutation = (bytes, chance) => {
  const items = itemsOf(bytes, SECTION.export, (reader) => {
    skipName(reader);
    reader.byte();
    reader.u32();
  });
  if (items === null) return bytes;
  const name = nameBytes(chance.pick(NAMES));
  const added = Uint8Array.from([...name, chance.once(3) ? chance.below(5) : 0, ...leb(chance.below(8))]);
  const at = chance.below(items.length + 1);
  return withSection(bytes, SECTION.export, joined(items.toSpliced(at, chance.below(2), added)));
};

/** A data or element segment at an offset that may lie outside. */
const addSegment: Mutation = (bytes, chance) => {
  const offset = [0x41, ...chance.pick([[0], [16], [0xff, 0x7f], [0x80, 0x80, 0x04], [0x7f]]), 0x0b];
  if (chance.once(2)) {
    const contents = contentsOf(bytes, SECTION.data);
    if (contents !== undefined && (contents[0] ?? 0) >= 0x7f) return bytes;
    const segment = [0, ...offset, 4, 1, 2, 3, 4];
    const count = (contents?.[0] ?? 0) + 1;
    return withSection(bytes, SECTION.data, [count, ...(contents?.subarray(1) ?? []), ...segment]);
  }
  const contents = contentsOf(bytes, SECTION.element);
  if (contents !== undefined && (contents[0] ?? 0) >= 0x7f) return bytes;
  const segment = [0, ...offset, 2, chance.below(8), chance.below(8)];
  const count = (contents?.[0] ?? 0) + 1;
  return withSection(bytes, SECTION.element, [count, ...(contents?.subarray(1) ?? []), ...segment]);
};

export const SECTION_MUTATIONS: Readonly<Record<string, Mutation>> = {
  swapSections,
  repeatSection,
  dropSection,
  takeSection,
  cutSection,
  addCustom,
  memoryLimits,
  tableLimits,
  confuseType,
  renameImport,
  renameExport,
  addSegment,
};
