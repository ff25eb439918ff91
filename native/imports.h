/*
 * The modules that a guest may import, as tables of names, signatures and C functions.
 *
 * A function gets its arguments as integers and the guest's memory as base and size. It returns the guest's
 * result, or sets `request->fault`, which ends the request whatever it returns. Single-threaded; the tables
 * are constant.
 */
#ifndef EDGE_IMPORTS_H
#define EDGE_IMPORTS_H

#include <stdbool.h>
#include <stdint.h>
#include "library.h"
#include "request.h"

#define EDGE_ARGUMENTS_MAX 10u

struct edge_call {
  const char *name; /* of the function */
  struct edge_request *request;
  uint8_t *memory;
  uint64_t memory_bytes;
  uint64_t argument[EDGE_ARGUMENTS_MAX]; /* an i32 is zero-extended */
};

typedef int32_t (*edge_import_function)(struct edge_call *call);

/* `signature` is the parameters, ':', and at most one result; 'i' is an i32, 'I' an i64. */
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

/* An instance of the module whose functions work on `request`; the caller owns it. NULL without memory. */
WasmEdge_ModuleInstanceContext *edge_imports_open(const struct edge_imports *imports,
                                                  struct edge_request *request);

/* The guest's bytes at `at`; NULL, with the fault BAD_POINTER, when its memory does not hold all of them. */
uint8_t *edge_call_bytes(struct edge_call *call, uint64_t at, uint64_t len);

/* Store a little-endian number in the guest's memory; false, with the fault BAD_POINTER, as above. */
bool edge_call_store32(struct edge_call *call, uint64_t at, uint32_t value);
bool edge_call_store64(struct edge_call *call, uint64_t at, uint64_t value);

#endif
