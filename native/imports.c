/* Turns the tables of host functions into WasmEdge modules, and counts and checks every call. */
#include "imports.h"

#include <string.h>

static WasmEdge_ValType value_type(char letter) {
  return letter == 'I' ? WasmEdge_ValTypeGenI64() : WasmEdge_ValTypeGenI32();
}

static WasmEdge_Result ended(const struct edge_request *request) {
  return WasmEdge_ResultGen(WasmEdge_ErrCategory_UserLevelError, (uint32_t)request->fault);
}

/* WasmEdge calls this for every host call: counts it, unpacks its arguments, ends the request at a fault. */
static WasmEdge_Result pass(void *self, void *data, const WasmEdge_CallingFrameContext *frame,
                            const WasmEdge_Value *params, const uint32_t count, WasmEdge_Value *returns,
                            const uint32_t returned) {
  const struct edge_import *import = self;
  struct edge_call call = {.name = import->name, .request = data};
  if (++call.request->host_calls > call.request->host_calls_max) {
    call.request->fault = EDGE_RESULT_HOST_CALL_LIMIT;
    return ended(call.request);
  }
  WasmEdge_MemoryInstanceContext *memory = WasmEdge_CallingFrameGetMemoryInstance(frame, 0);
  if (memory != NULL) {
    call.memory_bytes = (uint64_t)WasmEdge_MemoryInstanceGetPageSize(memory) * 65536;
    call.memory = call.memory_bytes > 0 ? WasmEdge_MemoryInstanceGetPointer(memory, 0, 1) : NULL;
    if (call.memory == NULL) call.memory_bytes = 0;
  }
  for (uint32_t i = 0; i < count && i < EDGE_ARGUMENTS_MAX; i++) {
    call.argument[i] = import->signature[i] == 'I' ? (uint64_t)WasmEdge_ValueGetI64(params[i])
                                                   : (uint32_t)WasmEdge_ValueGetI32(params[i]);
  }
  const int32_t result = import->function(&call);
  if (call.request->fault != EDGE_RESULT_ANSWER) return ended(call.request);
  if (returned > 0) returns[0] = WasmEdge_ValueGenI32(result);
  return WasmEdge_Result_Success;
}

static WasmEdge_FunctionInstanceContext *function_make(const struct edge_import *import,
                                                       struct edge_request *request) {
  WasmEdge_ValType params[EDGE_ARGUMENTS_MAX], result;
  uint32_t count = 0;
  const char *letter = import->signature;
  for (; *letter != ':' && count < EDGE_ARGUMENTS_MAX; letter++)
    params[count++] = value_type(*letter);
  const uint32_t results = letter[1] != '\0' ? 1 : 0;
  result = value_type(letter[1]);
  WasmEdge_FunctionTypeContext *type = WasmEdge_FunctionTypeCreate(params, count, &result, results);
  if (type == NULL) return NULL;
  WasmEdge_FunctionInstanceContext *function =
      WasmEdge_FunctionInstanceCreateBinding(type, pass, (void *)(uintptr_t)import, request, 0);
  WasmEdge_FunctionTypeDelete(type);
  return function;
}

WasmEdge_ModuleInstanceContext *edge_imports_open(const struct edge_imports *imports,
                                                  struct edge_request *request) {
  const WasmEdge_String module = WasmEdge_StringWrap(imports->module, (uint32_t)strlen(imports->module));
  WasmEdge_ModuleInstanceContext *instance = WasmEdge_ModuleInstanceCreate(module);
  if (instance == NULL) return NULL;
  for (uint32_t i = 0; i < imports->count; i++) {
    const struct edge_import *import = &imports->list[i];
    WasmEdge_FunctionInstanceContext *function = function_make(import, request);
    if (function == NULL) {
      WasmEdge_ModuleInstanceDelete(instance);
      return NULL;
    }
    WasmEdge_ModuleInstanceAddFunction(
        instance, WasmEdge_StringWrap(import->name, (uint32_t)strlen(import->name)), function);
  }
  return instance;
}

uint8_t *edge_call_bytes(struct edge_call *call, uint64_t at, uint64_t len) {
  static uint8_t empty[1];
  if (at > call->memory_bytes || len > call->memory_bytes - at) {
    call->request->fault = EDGE_RESULT_BAD_POINTER;
    return NULL;
  }
  return call->memory != NULL ? call->memory + at : empty;
}

bool edge_call_store32(struct edge_call *call, uint64_t at, uint32_t value) {
  uint8_t *to = edge_call_bytes(call, at, sizeof value);
  if (to != NULL) memcpy(to, &value, sizeof value);
  return to != NULL;
}

bool edge_call_store64(struct edge_call *call, uint64_t at, uint64_t value) {
  uint8_t *to = edge_call_bytes(call, at, sizeof value);
  if (to != NULL) memcpy(to, &value, sizeof value);
  return to != NULL;
}
