/* Instantiates a guest and calls it with the `handle` ABI. */
#include "instance.h"

#include <stddef.h>
#include <string.h>

#define WASM_PAGE 65536u
#define INPUTS_BYTES_MIN 4096u
#define REGION_ALIGN 8u
#define ASSEMBLYSCRIPT_ARRAY_BUFFER 1 /* AssemblyScript's id of a class that holds no references */

static WasmEdge_String text(const char *name) { return WasmEdge_StringWrap(name, (uint32_t)strlen(name)); }

static void phase_set(struct edge_instance *instance, enum edge_phase phase) {
  __atomic_store_n(instance->request->phase, (uint32_t)phase, __ATOMIC_RELAXED);
}

/* The result that stands for a WasmEdge error; `other` for an error that is no trap. */
static enum edge_result trap_of(WasmEdge_Result result, enum edge_result other, int32_t *detail) {
  const uint32_t code = WasmEdge_ResultGetCode(result);
  *detail = (int32_t)code;
  if (WasmEdge_ResultGetCategory(result) != WasmEdge_ErrCategory_WASM) return other;
  switch (code) {
  case WasmEdge_ErrCode_Unreachable:
    return EDGE_RESULT_TRAP_UNREACHABLE;
  case WasmEdge_ErrCode_MemoryOutOfBounds:
  case WasmEdge_ErrCode_TableOutOfBounds:
  case WasmEdge_ErrCode_ArrayOutOfBounds:
    return EDGE_RESULT_TRAP_OUT_OF_BOUNDS;
  case WasmEdge_ErrCode_DivideByZero:
  case WasmEdge_ErrCode_IntegerOverflow:
  case WasmEdge_ErrCode_InvalidConvToInt:
    return EDGE_RESULT_TRAP_ARITHMETIC;
  case WasmEdge_ErrCode_UninitializedElement:
  case WasmEdge_ErrCode_UndefinedElement:
  case WasmEdge_ErrCode_IndirectCallTypeMismatch:
    return EDGE_RESULT_TRAP_INDIRECT_CALL;
  default:
    return other;
  }
}

/* Calls a function of the guest that takes i32 and returns one i32, or none when `value` is NULL. */
static enum edge_result invoke(struct edge_instance *instance,
                               const WasmEdge_FunctionInstanceContext *function, const WasmEdge_Value *params,
                               uint32_t count, int32_t *value, int32_t *detail) {
  struct edge_request *request = instance->request;
  WasmEdge_Value returned = WasmEdge_ValueGenI32(0);
  phase_set(instance, EDGE_PHASE_GUEST);
  const WasmEdge_Result result = WasmEdge_ExecutorInvoke(instance->module->executor, function, params, count,
                                                         &returned, value != NULL ? 1 : 0);
  phase_set(instance, EDGE_PHASE_HOST);
  if (request->fault != EDGE_RESULT_ANSWER) {
    *detail = request->detail;
    return request->fault;
  }
  if (!WasmEdge_ResultOK(result)) return trap_of(result, EDGE_RESULT_TRAP_OTHER, detail);
  if (value != NULL) *value = WasmEdge_ValueGetI32(returned);
  return EDGE_RESULT_ANSWER;
}

static uint64_t memory_bytes(const struct edge_instance *instance) {
  return (uint64_t)WasmEdge_MemoryInstanceGetPageSize(instance->memory) * WASM_PAGE;
}

/* Grows the memory by pages that the guest does not use. */
static enum edge_result region_grow(struct edge_instance *instance, uint64_t bytes,
                                    struct edge_region *region) {
  const uint32_t before = WasmEdge_MemoryInstanceGetPageSize(instance->memory);
  const uint64_t pages = (bytes + WASM_PAGE - 1) / WASM_PAGE;
  if (before + pages > instance->settings->memory_pages) return EDGE_RESULT_MEMORY_EXHAUSTED;
  if (!WasmEdge_ResultOK(WasmEdge_MemoryInstanceGrowPage(instance->memory, (uint32_t)pages))) {
    return EDGE_RESULT_MEMORY_EXHAUSTED;
  }
  *region = (struct edge_region){before * WASM_PAGE, (uint32_t)(pages * WASM_PAGE)};
  return EDGE_RESULT_ANSWER;
}

/* The result when an allocator returns 0: it is out of memory, unless the memory could have grown enough. */
static enum edge_result null_means(const struct edge_instance *instance, uint64_t bytes) {
  const uint64_t limit = (uint64_t)instance->settings->memory_pages * WASM_PAGE;
  return memory_bytes(instance) + bytes > limit ? EDGE_RESULT_MEMORY_EXHAUSTED : EDGE_RESULT_BAD_POINTER;
}

/* Gets `bytes` from the guest's allocator and checks that its memory holds them. */
static enum edge_result region_allocate(struct edge_instance *instance, uint64_t bytes,
                                        struct edge_region *region, int32_t *detail) {
  const enum edge_allocator allocator = (enum edge_allocator)instance->settings->allocator;
  if (allocator == EDGE_ALLOCATOR_NONE) return region_grow(instance, bytes, region);
  const WasmEdge_Value zero = WasmEdge_ValueGenI32(0), size = WasmEdge_ValueGenI32((int32_t)bytes);
  const WasmEdge_Value plain[1] = {size};
  const WasmEdge_Value component[4] = {zero, zero, WasmEdge_ValueGenI32((int32_t)REGION_ALIGN), size};
  const WasmEdge_Value object[2] = {size, WasmEdge_ValueGenI32(ASSEMBLYSCRIPT_ARRAY_BUFFER)};
  const WasmEdge_Value *params = plain;
  uint32_t count = 1;
  int32_t at = 0;
  if (bytes > INT32_MAX) return EDGE_RESULT_MEMORY_EXHAUSTED;
  if (allocator == EDGE_ALLOCATOR_CABI_REALLOC) {
    params = component;
    count = 4;
  } else if (allocator == EDGE_ALLOCATOR_NEW) {
    params = object;
    count = 2;
  }
  enum edge_result result = invoke(instance, instance->allocate, params, count, &at, detail);
  if (result == EDGE_RESULT_ANSWER && at != 0 && instance->pin != NULL) {
    const WasmEdge_Value pinned[1] = {WasmEdge_ValueGenI32(at)};
    result = invoke(instance, instance->pin, pinned, 1, &at, detail);
  }
  if (result != EDGE_RESULT_ANSWER) return result;
  if (at == 0) return null_means(instance, bytes);
  if ((uint64_t)(uint32_t)at + bytes > memory_bytes(instance)) return EDGE_RESULT_BAD_POINTER;
  *region = (struct edge_region){(uint32_t)at, (uint32_t)bytes};
  return EDGE_RESULT_ANSWER;
}

static bool overlaps(struct edge_region a, struct edge_region b) {
  return a.bytes > 0 && b.bytes > 0 && a.at < (uint64_t)b.at + b.bytes && b.at < (uint64_t)a.at + a.bytes;
}

static uint64_t aligned(uint64_t len) { return (len + REGION_ALIGN - 1) / REGION_ALIGN * REGION_ALIGN; }

/* Sizes that few requests outgrow: the guest allocates anew for a larger one, and may never free. */
static uint64_t inputs_size(uint64_t need) {
  uint64_t size = INPUTS_BYTES_MIN;
  while (size < need && size < WASM_PAGE)
    size *= 2;
  return size >= need ? size : (need + WASM_PAGE - 1) / WASM_PAGE * WASM_PAGE;
}

/* Makes sure that the guest's memory has room for the request and for the response. */
static enum edge_result regions_ensure(struct edge_instance *instance, uint64_t need, int32_t *detail) {
  const uint32_t cap = instance->settings->response_cap;
  enum edge_result result = EDGE_RESULT_ANSWER;
  if (instance->inputs.bytes < need || instance->inputs.bytes == 0) {
    result = region_allocate(instance, inputs_size(need), &instance->inputs, detail);
  }
  if (result == EDGE_RESULT_ANSWER && instance->response.bytes < cap) {
    result = region_allocate(instance, cap, &instance->response, detail);
  }
  if (result != EDGE_RESULT_ANSWER) return result;
  return overlaps(instance->inputs, instance->response) ? EDGE_RESULT_BAD_POINTER : EDGE_RESULT_ANSWER;
}

/*
 * Makes room for usual requests by growing the memory once. A guest whose memory cannot grow fails at its
 * first request.
 */
static void regions_reserve(struct edge_instance *instance) {
  struct edge_region both;
  const uint64_t bytes = (uint64_t)WASM_PAGE + instance->settings->response_cap;
  if (region_grow(instance, bytes, &both) != EDGE_RESULT_ANSWER) return;
  instance->inputs = (struct edge_region){both.at, WASM_PAGE};
  instance->response = (struct edge_region){both.at + WASM_PAGE, both.bytes - WASM_PAGE};
}

enum edge_result edge_instance_handle(struct edge_instance *instance, int32_t *detail) {
  const struct edge_request *request = instance->request;
  const struct edge_bytes pieces[4] = {request->method, request->path, request->headers, request->body};
  const uint32_t cap = instance->settings->response_cap;
  WasmEdge_Value params[10];
  uint64_t need = 0;
  int32_t returned = 0;
  for (unsigned i = 0; i < 4; i++)
    need += aligned(pieces[i].len);
  enum edge_result result = regions_ensure(instance, need, detail);
  if (result != EDGE_RESULT_ANSWER) return result;
  uint8_t *to =
      WasmEdge_MemoryInstanceGetPointer(instance->memory, instance->inputs.at, instance->inputs.bytes);
  if (to == NULL) return EDGE_RESULT_BAD_POINTER;
  uint32_t at = instance->inputs.at;
  for (unsigned i = 0; i < 4; i++) {
    if (pieces[i].len > 0) memcpy(to, pieces[i].at, pieces[i].len);
    params[i * 2] = WasmEdge_ValueGenI32((int32_t)at);
    params[i * 2 + 1] = WasmEdge_ValueGenI32((int32_t)pieces[i].len);
    to += aligned(pieces[i].len);
    at += (uint32_t)aligned(pieces[i].len);
  }
  params[8] = WasmEdge_ValueGenI32((int32_t)instance->response.at);
  params[9] = WasmEdge_ValueGenI32((int32_t)cap);
  result = invoke(instance, instance->entrypoint, params, 10, &returned, detail);
  if (result != EDGE_RESULT_ANSWER) return result;
  *detail = (int32_t)request->refusal;
  if (request->refusal != EDGE_REFUSAL_NONE) return EDGE_RESULT_INVALID_RESPONSE;
  *detail = returned;
  if (returned < 0) return EDGE_RESULT_GUEST_ERROR;
  if ((uint32_t)returned > cap) return EDGE_RESULT_RESPONSE_LENGTH;
  if (returned == 0) return EDGE_RESULT_ANSWER;
  const uint8_t *from =
      WasmEdge_MemoryInstanceGetPointer(instance->memory, instance->response.at, (uint32_t)returned);
  if (from == NULL) return EDGE_RESULT_BAD_POINTER;
  return edge_request_write(instance->request, from, (uint32_t)returned) ? EDGE_RESULT_ANSWER
                                                                         : EDGE_RESULT_RESPONSE_TOO_LARGE;
}

static const WasmEdge_FunctionInstanceContext *find(const struct edge_instance *instance, const char *name) {
  return WasmEdge_ModuleInstanceFindFunction(instance->context, text(name));
}

/* The guest's `_initialize` without operands and results, as the check of an upload knows it; else NULL. */
static const WasmEdge_FunctionInstanceContext *initialize_find(const struct edge_instance *instance) {
  const WasmEdge_FunctionInstanceContext *found = find(instance, "_initialize");
  if (found == NULL) return NULL;
  const WasmEdge_FunctionTypeContext *type = WasmEdge_FunctionInstanceGetFunctionType(found);
  const uint32_t operands = WasmEdge_FunctionTypeGetParametersLength(type);
  return operands == 0 && WasmEdge_FunctionTypeGetReturnsLength(type) == 0 ? found : NULL;
}

/* Finds the exports; false when one is missing that the upload was seen to have. */
static bool exports_find(struct edge_instance *instance) {
  static const char *const ALLOCATE[] = {NULL, "alloc", "malloc", "cabi_realloc", "__new"};
  const uint32_t allocator = instance->settings->allocator;
  if (allocator >= sizeof ALLOCATE / sizeof ALLOCATE[0]) return false;
  instance->memory = WasmEdge_ModuleInstanceFindMemory(instance->context, text("memory"));
  instance->entrypoint = WasmEdge_ModuleInstanceFindFunction(
      instance->context,
      WasmEdge_StringWrap((const char *)instance->entrypoint_name.at, instance->entrypoint_name.len));
  instance->allocate = ALLOCATE[allocator] != NULL ? find(instance, ALLOCATE[allocator]) : NULL;
  instance->pin = allocator == EDGE_ALLOCATOR_NEW ? find(instance, "__pin") : NULL;
  return instance->memory != NULL && instance->entrypoint != NULL &&
         (instance->allocate != NULL || allocator == EDGE_ALLOCATOR_NONE);
}

static enum edge_result refuse(struct edge_instance *instance, enum edge_result result) {
  edge_instance_close(instance);
  return result;
}

enum edge_result edge_instance_open(struct edge_instance *instance, int32_t *detail) {
  const struct edge_module *module = instance->module;
  instance->inputs = instance->response = (struct edge_region){0, 0};
  instance->context = NULL;
  phase_set(instance, EDGE_PHASE_GUEST);
  const WasmEdge_Result made =
      WasmEdge_ExecutorInstantiate(module->executor, &instance->context, module->store, module->ast);
  phase_set(instance, EDGE_PHASE_HOST);
  if (instance->request->fault != EDGE_RESULT_ANSWER) {
    *detail = instance->request->detail;
    return refuse(instance, instance->request->fault);
  }
  if (!WasmEdge_ResultOK(made))
    return refuse(instance, trap_of(made, EDGE_RESULT_INSTANTIATE_FAILED, detail));
  if (!exports_find(instance)) {
    *detail = WasmEdge_ErrCode_FuncNotFound;
    return refuse(instance, EDGE_RESULT_INSTANTIATE_FAILED);
  }
  /* WasmEdge does not refuse an initial memory above its limit: it makes a smaller one. */
  if (WasmEdge_MemoryInstanceGetPageSize(instance->memory) < instance->settings->memory_pages_min) {
    return refuse(instance, EDGE_RESULT_MEMORY_EXHAUSTED);
  }
  if (instance->settings->allocator == EDGE_ALLOCATOR_NONE) regions_reserve(instance);
  const WasmEdge_FunctionInstanceContext *initialize = initialize_find(instance);
  if (initialize == NULL) return EDGE_RESULT_ANSWER;
  const enum edge_result result = invoke(instance, initialize, NULL, 0, NULL, detail);
  return result == EDGE_RESULT_ANSWER ? result : refuse(instance, result);
}

void edge_instance_close(struct edge_instance *instance) {
  if (instance->context != NULL) WasmEdge_ModuleInstanceDelete(instance->context);
  instance->context = NULL;
}

enum edge_result edge_instance_recycle(struct edge_instance *instance, int32_t *detail) {
  edge_instance_close(instance);
  return edge_instance_open(instance, detail);
}
