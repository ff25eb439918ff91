/*
 * One instance of a module, and the `handle` ABI: room from the guest's allocator, the call, the answer.
 *
 * Single-threaded. The instance owns its WasmEdge context and two regions of the guest's memory. The worker
 * owns the settings, the module and the request, which outlive the instance.
 */
#ifndef EDGE_INSTANCE_H
#define EDGE_INSTANCE_H

#include <stdbool.h>
#include <stdint.h>
#include "module.h"
#include "request.h"

struct edge_region {
  uint32_t at, bytes;
};

struct edge_instance {
  const struct edge_module *module;
  const struct edge_start *settings;
  struct edge_bytes entrypoint_name;
  struct edge_request *request;
  WasmEdge_ModuleInstanceContext *context; /* NULL: closed */
  WasmEdge_MemoryInstanceContext *memory;
  const WasmEdge_FunctionInstanceContext *entrypoint, *allocate, *pin;
  struct edge_region inputs, response;
};

/*
 * Instantiates the module, finds its exports, and runs its start function and `_initialize`. Guest code runs,
 * so any fault of a guest may be the result. After a result other than ANSWER the instance is closed.
 */
enum edge_result edge_instance_open(struct edge_instance *instance, int32_t *detail);
void edge_instance_close(struct edge_instance *instance);

/* Serves the open request and writes the answer into it. */
enum edge_result edge_instance_handle(struct edge_instance *instance, int32_t *detail);

/* Brings the instance back to its state after the start. */
enum edge_result edge_instance_recycle(struct edge_instance *instance, int32_t *detail);

#endif
