/*
 * The edge's own state of a ring, for the four sources that work on it.
 *
 * ring_command.c (packets to the zygote) calls ring.c (slots), both call ring_memory.c (the memory of
 * workers), and all call ring_handle.c (pidfds), never the other way round. One thread of the edge owns it.
 */
#ifndef EDGE_RING_PRIVATE_H
#define EDGE_RING_PRIVATE_H

#include <stdbool.h>

#include "geometry.h"
#include "ring_library.h"

/* What the edge expects of a slot next. It is kept in memory that no worker can write. */
enum edge_awaited {
  EDGE_AWAIT_NOTHING = 0,
  EDGE_AWAIT_START = 1,
  EDGE_AWAIT_ANSWER = 2,
  EDGE_AWAIT_RELEASE = 3,
  EDGE_AWAIT_REAP = 4 /* its start has failed */
};

struct edge_slot_note {
  uint32_t generation;
  uint32_t awaited;
  /* How far the bodies of this request reach: the pages beyond what stays resident are given back. */
  uint32_t request_body_bytes, response_body_bytes;
};

/* A child of the zygote: its pidfd once that has come, or one of these. */
enum edge_handle_state { EDGE_HANDLE_UNKNOWN = -1, EDGE_HANDLE_NONE = -2 };

struct edge_ring {
  uint8_t *map;   /* the memory of the first worker, then that of the others */
  int command_fd; /* -1: closed */
  struct edge_geometry geometry;
  struct edge_slot_note note[EDGE_SLOTS_MAX];
  uint64_t busy[EDGE_WORKERS_MAX / 64u]; /* a bit for each worker of which a start or an answer is awaited */
  uint8_t awaited[EDGE_WORKERS_MAX];     /* how many of them, by slot / EDGE_WORKER_SLOTS */
  uint32_t taken[EDGE_TAKEN_MAX * EDGE_TAKEN_WORDS];
  int worker[EDGE_WORKERS_MAX]; /* pidfd or enum edge_handle_state, by slot / EDGE_WORKER_SLOTS */
  int memory[EDGE_WORKERS_MAX]; /* the memfd of each worker, or EDGE_HANDLE_UNKNOWN */
  int compile;                  /* the same for the last compile that was asked for */
  uint32_t compile_job;
};

/*
 * Sets the slots of the worker that begins at `slot`, whose memory is fresh, to `generation`: the first to
 * STARTING, the others to READY, and awaits its start.
 */
void edge_ring_open_worker(struct edge_ring *ring, uint32_t slot, uint32_t generation);

/*
 * Makes the memory of the worker that begins at `slot`, all zeros, and maps it. Returns its descriptor, which
 * the ring keeps; -1 when the system refuses.
 */
int edge_memory_open(struct edge_ring *ring, uint32_t slot);

/*
 * Unmaps it and closes its descriptor: from here on the slots of the worker read as zeros, and must not be
 * written.
 */
void edge_memory_close(struct edge_ring *ring, uint32_t slot);

/* Gives back the pages of a body of `touched` bytes beyond those that stay resident. */
void edge_memory_trim(struct edge_ring *ring, uint32_t slot, enum edge_part part, uint32_t touched);

/* Sets every child to UNKNOWN, without closing anything: for a ring whose memory is fresh. */
void edge_handles_open(struct edge_ring *ring);

/* Closes every pidfd. */
void edge_handles_close(struct edge_ring *ring);

/* Forgets one child: closes its pidfd if there is one. */
void edge_handle_drop(int *handle);

/* Takes every handle that the zygote has sent. One that names no child of the ring is closed. */
void edge_handles_take(struct edge_ring *ring);

/* SIGKILL through a pidfd; true when the child has it or has ended. */
bool edge_handle_kill(int handle);

/* Keeps the errno that edge_ring_errno returns. */
void edge_ring_fail(int error);

#endif
