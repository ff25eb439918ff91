/* Loads a module with WasmEdge and links it with our host functions. */
#include "module.h"

#include <stddef.h>

#include "imports.h"

WasmEdge_ConfigureContext *edge_module_configure(uint32_t memory_pages) {
  WasmEdge_ConfigureContext *configure = WasmEdge_ConfigureCreate();
  if (configure == NULL) return NULL;
  WasmEdge_ConfigureSetMaxMemoryPage(configure, memory_pages);
  return configure;
}

static enum edge_result failed(enum edge_result result, WasmEdge_Result code, int32_t *detail) {
  *detail = (int32_t)WasmEdge_ResultGetCode(code);
  return result;
}

enum edge_result edge_module_load(struct edge_module *module, struct edge_bytes code, uint32_t memory_pages,
                                  int32_t *detail) {
  module->configure = edge_module_configure(memory_pages);
  WasmEdge_LoaderContext *loader = WasmEdge_LoaderCreate(module->configure);
  WasmEdge_ValidatorContext *validator = WasmEdge_ValidatorCreate(module->configure);
  if (loader == NULL || validator == NULL) return EDGE_RESULT_MEMORY_EXHAUSTED;
  WasmEdge_Result result = WasmEdge_LoaderParseFromBuffer(loader, &module->ast, code.at, code.len);
  if (!WasmEdge_ResultOK(result)) return failed(EDGE_RESULT_LOAD_FAILED, result, detail);
  result = WasmEdge_ValidatorValidate(validator, module->ast);
  if (!WasmEdge_ResultOK(result)) return failed(EDGE_RESULT_LOAD_FAILED, result, detail);
  WasmEdge_ValidatorDelete(validator);
  WasmEdge_LoaderDelete(loader);
  return EDGE_RESULT_ANSWER;
}

enum edge_result edge_module_link(struct edge_module *module, struct edge_request *request, int32_t *detail) {
  static const struct edge_imports *const IMPORTS[EDGE_MODULE_IMPORTS] = {&edge_hostcalls, &edge_wasi};
  module->executor = WasmEdge_ExecutorCreate(module->configure, NULL);
  module->store = WasmEdge_StoreCreate();
  if (module->executor == NULL || module->store == NULL) return EDGE_RESULT_MEMORY_EXHAUSTED;
  for (size_t i = 0; i < EDGE_MODULE_IMPORTS; i++) {
    module->imports[i] = edge_imports_open(IMPORTS[i], request);
    if (module->imports[i] == NULL) return EDGE_RESULT_MEMORY_EXHAUSTED;
    const WasmEdge_Result result =
        WasmEdge_ExecutorRegisterImport(module->executor, module->store, module->imports[i]);
    if (!WasmEdge_ResultOK(result)) return failed(EDGE_RESULT_INSTANTIATE_FAILED, result, detail);
  }
  return EDGE_RESULT_ANSWER;
}

void edge_module_close(struct edge_module *module) {
  WasmEdge_ExecutorDelete(module->executor);
  WasmEdge_StoreDelete(module->store);
  for (size_t i = 0; i < EDGE_MODULE_IMPORTS; i++)
    WasmEdge_ModuleInstanceDelete(module->imports[i]);
  WasmEdge_ASTModuleDelete(module->ast);
  WasmEdge_ConfigureDelete(module->configure);
  *module = (struct edge_module){.configure = NULL};
}
