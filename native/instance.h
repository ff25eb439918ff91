/*
 * One instance of a module, and the `handle` ABI on it: memory from the guest's allocator, the call, the
 * answer.
 *
 * Single-threaded; the instance owns its WasmEdge context and two regions of guest memory, which live as long
 * as it. The settings, the module and the request belong to the worker and outlive it.
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
 * Instantiates, runs the start function and `_initialize`, and finds the exports. Guest code runs, so faults
 * of the guest are among the results. After anything but ANSWER the instance is closed.
 */
enum edge_result edge_instance_open(struct edge_instance *instance, int32_t *detail);
void edge_instance_close(struct edge_instance *instance);

/* Serves the open request; its answer lies in the request. */
enum edge_result edge_instance_handle(struct edge_instance *instance, int32_t *detail);

/* Makes the instance as it was after its start. */
enum edge_result edge_instance_recycle(struct edge_instance *instance, int32_t *detail);

#endif
