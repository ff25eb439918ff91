/* Runs one tiny module of our own in the zygote before it forks workers. */
#include "warm.h"

#include <stdlib.h>

#include "instance.h"
#include "library.h"

#define SCRATCH_BYTES 4096u

/* (module (memory (export "memory") 1) (func (export "handle") (param i32 x 10) (result i32) i32.const 0)) */
static const uint8_t MODULE[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x0f, 0x01, 0x60, 0x0a, 0x7f, 0x7f, 0x7f,
    0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x01, 0x7f, 0x03, 0x02, 0x01, 0x00, 0x05, 0x03, 0x01,
    0x00, 0x01, 0x07, 0x13, 0x02, 0x06, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 0x02, 0x00, 0x06, 0x68,
    0x61, 0x6e, 0x64, 0x6c, 0x65, 0x00, 0x00, 0x0a, 0x06, 0x01, 0x04, 0x00, 0x41, 0x00, 0x0b,
};

static void run(struct edge_request *request, const struct edge_start *settings) {
  const struct edge_bytes code = {MODULE, sizeof MODULE};
  struct edge_module module = {.ast = NULL};
  struct edge_instance instance = {.module = &module,
                                   .settings = settings,
                                   .entrypoint_name = {(const uint8_t *)"handle", 6},
                                   .request = request};
  int32_t detail;
  if (edge_module_load(&module, code, settings->memory_pages, &detail) == EDGE_RESULT_ANSWER &&
      edge_module_link(&module, request, &detail) == EDGE_RESULT_ANSWER &&
      edge_instance_open(&instance, &detail) == EDGE_RESULT_ANSWER) {
    (void)edge_instance_handle(&instance, &detail);
    (void)edge_instance_recycle(&instance, &detail);
    edge_instance_close(&instance);
  }
  edge_module_close(&module);
}

void edge_warm(void) {
  static struct edge_slot control;
  static uint32_t phase;
  const struct edge_start settings = {.memory_pages = 16, .response_cap = SCRATCH_BYTES};
  WasmEdge_LogOff();
  struct edge_request *request = calloc(1, sizeof *request);
  uint8_t *scratch = calloc(1, SCRATCH_BYTES);
  if (request != NULL && scratch != NULL) {
    request->control = &control;
    request->phase = &phase;
    for (unsigned part = 0; part < EDGE_PARTS; part++) {
      request->part[part] = scratch;
      request->part_bytes[part] = SCRATCH_BYTES;
    }
    (void)edge_request_open(request, EDGE_MOMENT_REQUEST);
    run(request, &settings);
  }
  free(scratch);
  free(request);
}
