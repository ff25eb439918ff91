// What a decoded module holds: the parser fills these shapes, and the policy reads them.
import type { MODULE_BOUNDS } from '../../base/limits/module.ts';
import type { Signature } from './signature.ts';

/** The bounds that one check applies: those of `MODULE_BOUNDS`, or smaller ones. */
export type ModuleLimits = { readonly [Name in keyof typeof MODULE_BOUNDS]: number };

/** In pages of 64 KiB for a memory, in elements for a table; `offset` is its place in the bytes. */
export type SizeRange = { readonly min: number; readonly max: number | null; readonly offset: number };

/** `type` is the value type of the elements. */
export type TableType = SizeRange & { readonly type: number };

export type ItemKind = 'function' | 'table' | 'memory' | 'global';

/** `typeIndex` is the index of a function's signature, and -1 for the other kinds. */
export type ModuleImport = {
  readonly module: string;
  readonly name: string;
  readonly kind: ItemKind;
  readonly typeIndex: number;
  readonly offset: number;
};

export type ModuleExport = {
  readonly name: string;
  readonly kind: ItemKind;
  readonly index: number;
  readonly offset: number;
};

export type ModuleGlobal = { readonly type: number; readonly mutable: boolean };

/** `start` is where the segment is copied to; null if it is passive, declarative or not an i32 constant. */
type ElementSegment = {
  readonly table: number;
  readonly type: number;
  readonly start: number | null;
  readonly count: number;
  readonly offset: number;
};

type DataSegment = {
  readonly start: number | null;
  readonly sizeBytes: number;
  readonly offset: number;
};

/** `offset` and `sizeBytes` are those of the contents, without the id and the length. */
export type ModuleSection = {
  readonly name: string;
  readonly custom: boolean;
  readonly offset: number;
  readonly sizeBytes: number;
};

/** Each list holds what is imported first. `startFunction` is null without a start section. */
export type ParsedModule = {
  readonly types: Signature[];
  readonly imports: ModuleImport[];
  readonly functionTypes: number[];
  importedFunctions: number;
  readonly tables: TableType[];
  readonly memories: SizeRange[];
  readonly globals: ModuleGlobal[];
  importedGlobals: number;
  readonly exports: ModuleExport[];
  startFunction: number | null;
  readonly elements: ElementSegment[];
  readonly data: DataSegment[];
  readonly sections: ModuleSection[];
  mutatesTables: boolean;
};

export function createParsedModule(): ParsedModule {
  return {
    types: [],
    imports: [],
    functionTypes: [],
    importedFunctions: 0,
    tables: [],
    memories: [],
    globals: [],
    importedGlobals: 0,
    exports: [],
    startFunction: null,
    elements: [],
    data: [],
    sections: [],
    mutatesTables: false,
  };
}
