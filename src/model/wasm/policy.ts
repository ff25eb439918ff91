// Rules that a well-formed module must keep as well: memory, tables, segments, entrypoint and ABI.
import { moduleFault, quoted, type ModuleFault } from './fault.ts';
import type { ModuleExport, ModuleLimits, ParsedModule, SizeRange } from './module.ts';
import type { Allocator } from './report.ts';
import { sameSignature, signatureOf, signatureText, type Signature } from './signature.ts';

const PAGE_BYTES = 65_536;
const AOT_SECTION = 'wasmedge';
const COMMAND_EXPORT = '_start';
const REACTOR_EXPORT = '_initialize';
const HANDLE = signatureOf('iiiiiiiiii:i');

/** In order of preference. */
const ALLOCATORS: readonly (readonly [Allocator, Signature])[] = [
  ['alloc', signatureOf('i:i')],
  ['malloc', signatureOf('i:i')],
  ['cabi_realloc', signatureOf('iiii:i')],
  ['__new', signatureOf('ii:i')],
];

const exportNamed = (module: ParsedModule, name: string): ModuleExport | undefined =>
  module.exports.find((item) => item.name === name);

/** The signature of an exported function; undefined if there is no such export or it is no function. */
function exportedSignature(module: ParsedModule, name: string): Signature | undefined {
  const item = exportNamed(module, name);
  if (item?.kind !== 'function') return undefined;
  return module.types[module.functionTypes[item.index] ?? -1];
}

function exportsFunction(module: ParsedModule, name: string, expected: Signature): boolean {
  const found = exportedSignature(module, name);
  return found !== undefined && sameSignature(found, expected);
}

/** The ahead-of-time compiler of WasmEdge puts native code into a custom section of this name. */
export function nativeCodeFault(module: ParsedModule): ModuleFault | undefined {
  const section = module.sections.find(({ name, custom }) => custom && name === AOT_SECTION);
  return section && moduleFault('aot_section_forbidden', undefined, { offset: section.offset });
}

/** The memory is the module's own: `importFault` refuses modules that import one. */
export function memoryFault(module: ParsedModule, memoryPages: number): ModuleFault | undefined {
  const memory = module.memories[0];
  const exported = exportNamed(module, 'memory');
  if (memory === undefined) return moduleFault('memory_missing', 'It has no memory.');
  if (exported?.kind !== 'memory') return moduleFault('memory_missing', 'Its memory is not exported.');
  if (memory.min > memoryPages) {
    const detail = `It asks for ${memory.min} pages; memory_pages is ${memoryPages}.`;
    return moduleFault('memory_min_exceeds_limit', detail, { offset: memory.offset, export: 'memory' });
  }
  return undefined;
}

export function tableFault(module: ParsedModule, limits: ModuleLimits): ModuleFault | undefined {
  const limit = limits.tableElementsMax;
  const large = module.tables.find(({ min }) => min > limit);
  if (large === undefined) return undefined;
  const detail = `It has ${large.min} elements; the limit is ${limit}.`;
  return moduleFault('table_too_large', detail, { offset: large.offset });
}

const fits = (start: number | null, length: number, size: number): boolean =>
  start === null || start + length <= size;

/** Leaves out segments without a constant offset: they are passive, or checked at instantiation. */
export function segmentFault(module: ParsedModule): ModuleFault | undefined {
  const memoryBytes = (module.memories[0]?.min ?? 0) * PAGE_BYTES;
  const data = module.data.find(({ start, sizeBytes }) => !fits(start, sizeBytes, memoryBytes));
  if (data !== undefined) {
    const detail = `It ends at ${(data.start ?? 0) + data.sizeBytes}; the memory has ${memoryBytes} bytes.`;
    return moduleFault('data_out_of_bounds', detail, { offset: data.offset });
  }
  const sizeOf = (table: SizeRange | undefined): number => table?.min ?? 0;
  const elements = module.elements.find(
    ({ start, count, table }) => !fits(start, count, sizeOf(module.tables[table])),
  );
  if (elements === undefined) return undefined;
  const size = sizeOf(module.tables[elements.table]);
  const detail = `It ends at ${(elements.start ?? 0) + elements.count}; the table has ${size} elements.`;
  return moduleFault('element_out_of_bounds', detail, { offset: elements.offset });
}

export function entrypointFault(module: ParsedModule, entrypoint: string): ModuleFault | undefined {
  const item = exportNamed(module, entrypoint);
  const isCommand = exportedSignature(module, COMMAND_EXPORT) !== undefined;
  if (item === undefined) {
    if (!isCommand) {
      const detail = `There is no export ${quoted(entrypoint)}.`;
      return moduleFault('entrypoint_missing', detail, { export: entrypoint });
    }
    const detail = `It exports ${COMMAND_EXPORT} (a WASI command) and not ${quoted(entrypoint)}.`;
    return moduleFault('abi_not_supported', detail, { export: COMMAND_EXPORT });
  }
  const place = { offset: item.offset, export: entrypoint };
  const found = exportedSignature(module, entrypoint);
  if (found === undefined) return moduleFault('entrypoint_signature', `It is a ${item.kind}.`, place);
  if (!sameSignature(found, HANDLE)) {
    return moduleFault('entrypoint_signature', `Here it is ${signatureText(found)}.`, place);
  }
  if (!isCommand) return undefined;
  const detail = `It exports both ${quoted(entrypoint)} and ${COMMAND_EXPORT}.`;
  return moduleFault('abi_ambiguous', detail, { ...place, export: COMMAND_EXPORT });
}

/** The preferred allocator among those that are exported with the right signature. */
export function allocatorOf(module: ParsedModule): Allocator {
  return ALLOCATORS.find(([name, expected]) => exportsFunction(module, name, expected))?.[0] ?? 'none';
}

/** Whether the module is a WASI reactor, whose `_initialize` runs once before the first call. */
export function hasInitialize(module: ParsedModule): boolean {
  return exportsFunction(module, REACTOR_EXPORT, signatureOf(':'));
}
