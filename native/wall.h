/*
 * How strong the wall around the children is: each of its parts is tried once, by children of the zygote.
 *
 * They enter the sandbox as a worker and as a compile child do. No part counts as held because the kernel
 * accepted a call: a path that must not open is opened, memory beyond the bound is asked for, a forbidden
 * call is made.
 */
#ifndef EDGE_WALL_H
#define EDGE_WALL_H

#include <stdbool.h>
#include <stdint.h>
#include "namespace.h"
#include "sandbox.h"

/* The parts; src/engine/wall/parts.ts has the same numbers. */
enum edge_wall_part {
  EDGE_WALL_SECCOMP = 0,           /* a forbidden call ends the child, a forbidden argument is refused */
  EDGE_WALL_LANDLOCK = 1,          /* no path opens in a worker; reason: the version of Landlock */
  EDGE_WALL_COMPILE_FILES = 2,     /* beside its filter, Landlock or another user keeps a compile child out */
  EDGE_WALL_NETWORK_NAMESPACE = 3, /* another one than the edge's, as the two that follow */
  EDGE_WALL_IPC_NAMESPACE = 4,
  EDGE_WALL_MOUNT_NAMESPACE = 5,
  EDGE_WALL_PID_NAMESPACE = 6, /* of a compile child */
  EDGE_WALL_USER = 7,         /* another user than the zygote, who may signal neither it nor the edge */
  EDGE_WALL_CAPABILITIES = 8, /* none effective, permitted, inheritable, ambient, or to be had */
  EDGE_WALL_NO_NEW_PRIVS = 9,
  EDGE_WALL_DUMPABLE = 10, /* no other process of the user reads the child's memory */
  EDGE_WALL_MEMORY = 11,   /* an allocation beyond RLIMIT_DATA fails, and nothing large is inherited */
  EDGE_WALL_OOM_SCORE = 12 /* the kernel ends a child before it ends the edge */
};
#define EDGE_WALL_PARTS 13u

enum edge_wall_state {
  EDGE_WALL_HELD = 0,
  EDGE_WALL_MISSING = 1,       /* reason: errno, or 0 when nothing failed and yet it did not hold */
  EDGE_WALL_NOT_APPLICABLE = 2 /* an engine of this user has no such part; others stand instead */
};

struct edge_wall_finding {
  uint32_t state; /* enum edge_wall_state */
  uint32_t reason;
};

struct edge_wall {
  struct edge_wall_finding part[EDGE_WALL_PARTS];
};

/* The namespaces of a process, as the kernel numbers them; 0 where they cannot be read. */
struct edge_wall_namespaces {
  uint64_t network, ipc, mounts, processes;
};

struct edge_wall_trial {
  const struct edge_sandbox_opened *opened;
  struct edge_wall_namespaces edge;
  const struct edge_namespace *apart; /* of compile children */
  int not_apart;                      /* the errno for which they have none */
};

/* In the zygote, before edge_sandbox_open, when it still has the namespaces of the edge. */
void edge_wall_namespaces_read(struct edge_wall_namespaces *namespaces);

/*
 * In the zygote, after edge_sandbox_open: tries every part. Returns 0, or an errno for which no worker may
 * start: a child could not be forked, enter its sandbox, or be killed after it gave up root.
 */
int edge_wall_try(const struct edge_wall_trial *trial, struct edge_wall *wall);

/* Whether every part is held without which a taken-over worker gets out, or takes the machine. */
bool edge_wall_holds(const struct edge_wall *wall);

#endif
