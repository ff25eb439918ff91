/*
 * The table of the zygote's children: workers and compiles, from fork to reaping.
 *
 * Single-threaded; the zygote owns the table. A process id belongs to the child until it is reaped here, so a
 * kill never reaches another process.
 */
#ifndef EDGE_CHILDREN_H
#define EDGE_CHILDREN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include "ring.h"

#define EDGE_COMPILES_MAX 16u
#define EDGE_CHILDREN_MAX (EDGE_WORKERS_MAX + EDGE_COMPILES_MAX)

enum edge_child_kind { EDGE_CHILD_WORKER = 1, EDGE_CHILD_COMPILE = 2 };

struct edge_child {
  pid_t pid; /* 0: no child */
  enum edge_child_kind kind;
  uint32_t slot; /* first slot of a worker; job of a compile */
  uint32_t generation;
  char path[EDGE_PATH_MAX]; /* file of a compile's result */
};

struct edge_children {
  struct edge_child child[EDGE_CHILDREN_MAX];
};

/* A free place, which the caller fills in after the fork; NULL when there is none. */
struct edge_child *edge_children_place(struct edge_children *children);

/* SIGKILL to the child of this kind, slot and generation, if there is one; false when the kernel refuses. */
bool edge_children_kill(struct edge_children *children, enum edge_child_kind kind, uint32_t slot,
                        uint32_t generation);

/* SIGKILL to every child; false when the kernel refuses one. */
bool edge_children_kill_all(struct edge_children *children);

struct edge_child_end {
  struct edge_child child;
  int status; /* of wait4 */
  struct rusage usage;
};

/*
 * Reaps one child that has ended and takes it off the table; false when there is none. `options` are those of
 * wait4: with 0 it waits until a child ends, with WNOHANG it does not.
 */
bool edge_children_reap(struct edge_children *children, int options, struct edge_child_end *end);

#endif
