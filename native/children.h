/*
 * The children of the zygote: who they are, and their end.
 *
 * A value of the zygote, single-threaded. A process id stays valid until the child is reaped here, so a kill
 * can never hit a stranger.
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
  uint32_t slot; /* of a compile: the job */
  uint32_t generation;
  char path[EDGE_PATH_MAX]; /* of a compile: where the result goes */
};

struct edge_children {
  struct edge_child child[EDGE_CHILDREN_MAX];
};

/* A place for a child, to be filled with its pid; NULL when all are taken. */
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
 * Takes one child that has ended off the table; false when there is none. Waits for one with `options` 0, not
 * with WNOHANG.
 */
bool edge_children_reap(struct edge_children *children, int options, struct edge_child_end *end);

#endif
