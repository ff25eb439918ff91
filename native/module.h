/*
 * The code of one version in a worker: loaded once, instantiated any number of times.
 *
 * Single-threaded. The host functions work on the request that edge_module_link gets, which must outlive the
 * module.
 */
#ifndef EDGE_MODULE_H
#define EDGE_MODULE_H

#include <stdint.h>
#include "library.h"
#include "request.h"

#define EDGE_MODULE_IMPORTS 2u

/* Every member is NULL before the load. */
struct edge_module {
  WasmEdge_ConfigureContext *configure;
  WasmEdge_ASTModuleContext *ast;
  WasmEdge_ExecutorContext *executor;
  WasmEdge_StoreContext *store;
  WasmEdge_ModuleInstanceContext *imports[EDGE_MODULE_IMPORTS];
};

/*
 * The configuration that workers and compiles share, with at most `memory_pages` pages for a guest. The
 * caller owns it. NULL without memory.
 */
WasmEdge_ConfigureContext *edge_module_configure(uint32_t memory_pages);

/*
 * Loads and validates the module. ANSWER, or MEMORY_EXHAUSTED, or LOAD_FAILED with WasmEdge's code in
 * `detail`. The caller may free `code` afterwards.
 */
enum edge_result edge_module_load(struct edge_module *module, struct edge_bytes code, uint32_t memory_pages,
                                  int32_t *detail);

/* Makes the executor and links the imports, which work on `request`. The last filter allows all it does. */
enum edge_result edge_module_link(struct edge_module *module, struct edge_request *request, int32_t *detail);

/*
 * Called after its instances are closed, or after a load or a link that failed. A worker exits without it.
 */
void edge_module_close(struct edge_module *module);

#endif
