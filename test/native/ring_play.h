/* Both ends of a ring in one process, for checks that play the zygote and the workers. */
#ifndef EDGE_RING_PLAY_H
#define EDGE_RING_PLAY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../native/geometry.h"
#include "../../native/packet.h"
#include "../../native/ring_library.h"

#define SLOTS 40u
#define HEAD 8192u
#define BODY (1u << 20)
#define GENERATION 7u

static struct edge_ring *ring;
static struct edge_geometry geometry;
static int command_fd;

#define MUST(condition)                                                                                      \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                                \
      exit(1);                                                                                               \
    }                                                                                                        \
  } while (0)

static inline struct edge_slot *slot_of(uint32_t slot) { return edge_ring_slot(ring, slot); }

static inline const uint32_t *record(uint32_t index) {
  return (const uint32_t *)edge_ring_taken(ring) + (size_t)index * EDGE_TAKEN_WORDS;
}

static inline uint32_t first_of(uint32_t slot) { return slot - slot % EDGE_WORKER_SLOTS; }

static inline struct edge_board *board_of(uint32_t slot) {
  return (struct edge_board *)(void *)((uint8_t *)edge_ring_slot(ring, first_of(slot)) - EDGE_PAGE);
}

static inline uint32_t *state_of(uint32_t slot) { return &board_of(slot)->state[slot % EDGE_WORKER_SLOTS]; }

/* Finishes a slot as a worker does: sets its state, then its done bit. */
static inline void finish(uint32_t slot, uint32_t generation, uint32_t state) {
  *state_of(slot) = generation << 8 | state;
  board_of(slot)->done |= 1u << (slot % EDGE_WORKER_SLOTS);
}

static inline struct edge_command command_read(void) {
  struct edge_command command;
  MUST(recv(command_fd, &command, sizeof command, MSG_DONTWAIT) == (ssize_t)sizeof command);
  return command;
}

/* Takes a FORK command; the memory that came with it, which the caller closes. */
static inline int fork_read(uint32_t slot) {
  struct edge_command command;
  int fds[EDGE_FORK_FDS];
  char byte;
  MUST(edge_packet_receive(command_fd, &command, sizeof command, fds, EDGE_FORK_FDS) == sizeof command);
  MUST(command.kind == EDGE_COMMAND_FORK && command.slot == slot && command.generation == GENERATION);
  MUST(pread(fds[EDGE_FORK_CODE], &byte, 1, 3) == 1 && byte == 'e');
  close(fds[EDGE_FORK_CODE]);
  return fds[EDGE_FORK_MEMORY];
}

static int fork_at(uint32_t slot) {
  const int code = edge_code_open("code", 4);
  const int32_t forked = edge_ring_fork(ring, slot, GENERATION, code, "start", 5);
  edge_fd_close(code);
  return forked;
}

/* Starts the worker that has this slot. */
static inline void start(uint32_t any) {
  const uint32_t slot = first_of(any);
  MUST(fork_at(slot) == 0);
  close(fork_read(slot));
  finish(slot, GENERATION, EDGE_SLOT_READY);
  MUST(edge_ring_drain(ring, SLOTS) == 1 && record(0)[0] == slot && record(0)[2] == EDGE_SLOT_READY);
}

static inline int32_t post(uint32_t slot) { return edge_ring_post(ring, slot, GENERATION, 3, 1, 2, 4, 5); }

struct play_case {
  const char *name;
  void (*run)(void);
};

/* Runs the case that the one argument names, on a fresh ring; the status of the process. */
static inline int play(int count, char **arguments, const struct play_case *cases, size_t length) {
  const uint32_t bytes[EDGE_PARTS] = {HEAD, HEAD, HEAD, BODY, BODY};
  ring = edge_ring_open(SLOTS, HEAD, BODY, HEAD, BODY, HEAD);
  MUST(ring != NULL && edge_geometry_fill(&geometry, SLOTS, bytes));
  command_fd = edge_ring_command_open(ring);
  MUST(command_fd >= 0);
  for (size_t i = 0; i < length; i++) {
    if (count == 2 && strcmp(arguments[1], cases[i].name) == 0) {
      cases[i].run();
      edge_ring_close(ring);
      return 0;
    }
  }
  return 2;
}

#endif
