// Checks whether bytes are an acceptable module, and reports what is in it.
import { MODULE_BOUNDS } from '../../base/limits/module.ts';
import { moduleFault, type ModuleFault } from './fault.ts';
import { importFault } from './imports.ts';
import { parseModule } from './parser/parser.ts';
import type { ModuleLimits } from './module.ts';
import {
  allocatorOf,
  entrypointFault,
  hasInitialize,
  memoryFault,
  nativeCodeFault,
  segmentFault,
  tableFault,
} from './policy.ts';
import { reportOf, type ModuleReport } from './report.ts';

/**
 * `memoryPages` bounds the initial memory. `typeCheck` is a validator such as `WebAssembly.validate`; it gets
 * only bytes that passed everything else. `limits` replaces bounds of `MODULE_BOUNDS`.
 */
type CheckOptions = {
  memoryPages: number;
  entrypoint: string;
  typeCheck: (bytes: Uint8Array) => boolean;
  limits?: Partial<ModuleLimits>;
};

/** A check that may run in another process. Rejects only if the check itself could not run. */
export type ModuleCheck = (
  bytes: Uint8Array,
  options: Pick<CheckOptions, 'memoryPages' | 'entrypoint'>,
) => Promise<CheckResult>;

export type CheckResult = { ok: true; report: ModuleReport } | { ok: false; error: ModuleFault };

/** Decodes the bytes, applies the policy and type-checks; returns the first fault. Never throws. */
export function checkModule(bytes: Uint8Array, options: CheckOptions): CheckResult {
  const limits: ModuleLimits = { ...MODULE_BOUNDS, ...options.limits };
  const parsed = parseModule(bytes, { limits });
  if (!parsed.ok) return parsed;
  const { module } = parsed;
  const { entrypoint, memoryPages } = options;
  const error =
    nativeCodeFault(module) ??
    importFault(module) ??
    memoryFault(module, memoryPages) ??
    tableFault(module, limits) ??
    segmentFault(module) ??
    entrypointFault(module, entrypoint) ??
    (options.typeCheck(bytes) ? undefined : moduleFault('invalid_wasm'));
  if (error !== undefined) return { ok: false, error };
  const allocator = allocatorOf(module);
  const facts = { sizeBytes: bytes.length, entrypoint, allocator, hasInitialize: hasInitialize(module) };
  return { ok: true, report: reportOf(module, facts) };
}
