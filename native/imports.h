/*
 * Host functions as tables: each module that a guest may import is a list of names, signatures and C
 * functions.
 *
 * A function gets its arguments as integers and the guest's memory as base and size, checked once per call.
 * It returns the guest's result; to end the request it sets `request->fault` instead. Single-threaded; the
 * tables are constant.
 */
#ifndef EDGE_IMPORTS_H
#define EDGE_IMPORTS_H

#include <stdbool.h>
#include <stdint.h>
#include "library.h"
#include "request.h"

#define EDGE_ARGUMENTS_MAX 10u

struct edge_call {
  struct edge_request *request;
  uint8_t *memory;
  uint64_t memory_bytes;
  uint64_t argument[EDGE_ARGUMENTS_MAX]; /* i32 as zero-extended 32 bits */
};

typedef int32_t (*edge_import_function)(struct edge_call *call);

/* signature: 'i' i32, 'I' i64; parameters, ':', at most one result. */
struct edge_import {
  const char *name;
  const char *signature;
  edge_import_function function;
};

struct edge_imports {
  const char *module;
  const struct edge_import *list;
  uint32_t count;
};

/* The module `env` (hostcalls.c) and our own preview 1 (wasi.c). */
extern const struct edge_imports edge_hostcalls;
extern const struct edge_imports edge_wasi;

/* An instance whose functions work on `request`; NULL when memory is short. It belongs to the caller. */
WasmEdge_ModuleInstanceContext *edge_imports_open(const struct edge_imports *imports,
                                                  struct edge_request *request);

/* The guest's bytes at `at`; NULL, with the fault BAD_POINTER, when they are not all in its memory. */
uint8_t *edge_call_bytes(struct edge_call *call, uint64_t at, uint64_t len);

/* Little-endian stores to checked guest memory; false after a bad pointer. */
bool edge_call_store32(struct edge_call *call, uint64_t at, uint32_t value);
bool edge_call_store64(struct edge_call *call, uint64_t at, uint64_t value);

#endif
