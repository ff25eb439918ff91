/*
 * Where the parts of the ring lie, calculated alike by the edge that makes it and the engine that maps it.
 *
 * Pure: a geometry is a plain value.
 */
#ifndef EDGE_GEOMETRY_H
#define EDGE_GEOMETRY_H

#include <stdbool.h>
#include <stdint.h>
#include "ring.h"

struct edge_geometry {
  uint32_t slots;
  uint32_t slot_bytes;
  uint32_t offset[EDGE_PARTS]; /* from the start of the slot */
  uint32_t bytes[EDGE_PARTS];  /* whole pages */
};

/*
 * Fills `geometry` for `slots` slots; each part gets the pages that hold its `bytes`. False when a part is
 * empty, when a slot would pass 2 GiB, or when `slots` is 0, too large or not a whole number of workers.
 */
static inline bool edge_geometry_fill(struct edge_geometry *geometry, uint32_t slots,
                                      const uint32_t bytes[EDGE_PARTS]) {
  uint64_t at = EDGE_PAGE;
  if (slots == 0 || slots > EDGE_SLOTS_MAX || slots % EDGE_WORKER_SLOTS != 0) return false;
  for (unsigned part = 0; part < EDGE_PARTS; part++) {
    uint64_t rounded = ((uint64_t)bytes[part] + EDGE_PAGE - 1) / EDGE_PAGE * EDGE_PAGE;
    if (rounded == 0 || at + rounded > INT32_MAX) return false;
    geometry->offset[part] = (uint32_t)at;
    geometry->bytes[part] = (uint32_t)rounded;
    at += rounded;
  }
  geometry->slots = slots;
  geometry->slot_bytes = (uint32_t)at;
  return true;
}

/* The memory of one worker: its board page, then its slots. */
static inline uint64_t edge_geometry_worker_bytes(const struct edge_geometry *geometry) {
  return EDGE_PAGE + (uint64_t)geometry->slot_bytes * EDGE_WORKER_SLOTS;
}

/* Where the worker that has `slot` starts, counted from the first worker. */
static inline uint64_t edge_geometry_worker(const struct edge_geometry *geometry, uint32_t slot) {
  return slot / EDGE_WORKER_SLOTS * edge_geometry_worker_bytes(geometry);
}

/* Where a slot starts, counted from the first worker. */
static inline uint64_t edge_geometry_slot(const struct edge_geometry *geometry, uint32_t slot) {
  return edge_geometry_worker(geometry, slot) + EDGE_PAGE +
         (uint64_t)(slot % EDGE_WORKER_SLOTS) * geometry->slot_bytes;
}

static inline uint64_t edge_geometry_total(const struct edge_geometry *geometry) {
  return edge_geometry_worker(geometry, geometry->slots);
}

#endif
