/*
 * The edge's own state of a ring, for the two sources that work on it.
 *
 * ring_command.c (packets to the zygote) calls ring.c (slots), never the other way round. One thread of the
 * edge owns all of it.
 */
#ifndef EDGE_RING_PRIVATE_H
#define EDGE_RING_PRIVATE_H

#include "geometry.h"
#include "ring.h"

/* What the edge waits for in a slot; kept here, where no worker can write. */
enum edge_awaited {
  EDGE_AWAIT_NOTHING = 0,
  EDGE_AWAIT_START = 1,
  EDGE_AWAIT_ANSWER = 2,
  EDGE_AWAIT_RELEASE = 3
};

struct edge_slot_note {
  uint32_t generation;
  uint32_t awaited;
  uint32_t request_body_bytes;  /* touched by the edge since the last release */
  uint32_t response_body_bytes; /* touched by the worker since the last release, as far as it says */
};

struct edge_ring {
  uint8_t *map;
  int memfd;
  int command_fd; /* -1: closed */
  struct edge_geometry geometry;
  struct edge_slot_note note[EDGE_SLOTS_MAX];
  uint32_t taken[EDGE_TAKEN_MAX * EDGE_TAKEN_WORDS];
};

/*
 * Gives the board and the notes of the worker whose first slot is `slot` their first values; `state` and
 * `awaited` are those of the first slot, and generation 0 is a worker that is not there.
 */
void edge_ring_open_worker(struct edge_ring *ring, uint32_t slot, uint32_t generation,
                           enum edge_slot_state state, enum edge_awaited awaited);

/* Remembers errno for edge_ring_errno; for use by one thread. */
void edge_ring_fail(int error);

#endif
