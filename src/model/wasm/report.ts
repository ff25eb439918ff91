// The report on an accepted module: its ABI, imports, exports and sizes.
import { type Static, Type } from '@sinclair/typebox';
import { MODULE_BOUNDS } from '../../base/limits/module.ts';
import type { ModuleSection, ParsedModule } from './module.ts';

/** The export that allocates memory for inputs; with `none` the host adds a region of its own. */
export const Allocator = Type.Union([
  Type.Literal('alloc'),
  Type.Literal('malloc'),
  Type.Literal('cabi_realloc'),
  Type.Literal('__new'),
  Type.Literal('none'),
]);
export type Allocator = Static<typeof Allocator>;

const Count = Type.Integer({ minimum: 0 });
const Name = Type.String({ maxLength: MODULE_BOUNDS.nameBytesMax });
const Section = Type.Object({ name: Name, size_bytes: Count });

/**
 * `functions` and `globals` count what the module defines, `exports` and `custom_sections` list the first
 * `MODULE_BOUNDS.reportItemsMax`; names are the guest's own text. Each import is listed once.
 */
export const ModuleReport = Type.Object({
  abi: Type.Literal('handle'),
  entrypoint: Type.String(),
  allocator: Allocator,
  memory: Type.Object({ min_pages: Count, max_pages: Type.Union([Count, Type.Null()]) }),
  imports: Type.Array(Type.Object({ module: Name, name: Name })),
  exports: Type.Array(Name, { maxItems: MODULE_BOUNDS.reportItemsMax }),
  exports_count: Count,
  functions: Count,
  globals: Count,
  mutable_globals: Count,
  tables: Count,
  mutates_tables: Type.Boolean(),
  has_start: Type.Boolean(),
  has_initialize: Type.Boolean(),
  size_bytes: Count,
  sections: Type.Array(Section),
  custom_sections: Type.Array(Section, { maxItems: MODULE_BOUNDS.reportItemsMax }),
  custom_sections_count: Count,
});
export type ModuleReport = Static<typeof ModuleReport>;

export function reportOf(
  module: ParsedModule,
  facts: { sizeBytes: number; entrypoint: string; allocator: Allocator; hasInitialize: boolean },
): ModuleReport {
  const shownMax = MODULE_BOUNDS.reportItemsMax;
  const memory = module.memories[0];
  const sized = (section: ModuleSection): Static<typeof Section> => {
    return { name: section.name, size_bytes: section.sizeBytes };
  };
  const customs = module.sections.filter(({ custom }) => custom);
  const globals = module.globals.slice(module.importedGlobals);
  const imports = new Map<string, { module: string; name: string }>();
  for (const item of module.imports) {
    imports.set(`${item.module} ${item.name}`, { module: item.module, name: item.name });
  }
  return {
    abi: 'handle',
    entrypoint: facts.entrypoint,
    allocator: facts.allocator,
    memory: { min_pages: memory?.min ?? 0, max_pages: memory?.max ?? null },
    imports: [...imports.values()],
    exports: module.exports.slice(0, shownMax).map(({ name }) => name),
    exports_count: module.exports.length,
    functions: module.functionTypes.length - module.importedFunctions,
    globals: globals.length,
    mutable_globals: globals.filter(({ mutable }) => mutable).length,
    tables: module.tables.length,
    mutates_tables: module.mutatesTables,
    has_start: module.startFunction !== null,
    has_initialize: facts.hasInitialize,
    size_bytes: facts.sizeBytes,
    sections: module.sections.filter(({ custom }) => !custom).map(sized),
    custom_sections: customs.slice(0, shownMax).map(sized),
    custom_sections_count: customs.length,
  };
}
