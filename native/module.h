/*
 * The code of one version in a worker: loaded once, instantiated as often as wanted.
 *
 * Single-threaded. The imports work on the request that edge_module_link was given, which must outlive the
 * module.
 */
#ifndef EDGE_MODULE_H
#define EDGE_MODULE_H

#include <stdint.h>
#include "library.h"
#include "request.h"

#define EDGE_MODULE_IMPORTS 2u

/* All NULL before the load. */
struct edge_module {
  WasmEdge_ConfigureContext *configure;
  WasmEdge_ASTModuleContext *ast;
  WasmEdge_ExecutorContext *executor;
  WasmEdge_StoreContext *store;
  WasmEdge_ModuleInstanceContext *imports[EDGE_MODULE_IMPORTS];
};

/*
 * The proposals that workers and compiles agree on, at most `memory_pages` of memory; NULL when memory is
 * short.
 */
WasmEdge_ConfigureContext *edge_module_configure(uint32_t memory_pages);

/* Loads and validates; ANSWER, or LOAD_FAILED with WasmEdge's code in `detail`. `code` may go afterwards. */
enum edge_result edge_module_load(struct edge_module *module, struct edge_bytes code, uint32_t memory_pages,
                                  int32_t *detail);

/* Makes the executor and links the imports to `request`; needs nothing that the last filter forbids. */
enum edge_result edge_module_link(struct edge_module *module, struct edge_request *request, int32_t *detail);

/* After its instances are closed; also after a load or a link that failed. A worker ends without it. */
void edge_module_close(struct edge_module *module);

#endif
