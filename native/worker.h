/*
 * The life of one worker: it loads one module, then serves the requests of its slot until it is killed.
 *
 * Runs in a freshly forked child of the zygote; never returns. Its descriptors are the child's own.
 */
#ifndef EDGE_WORKER_H
#define EDGE_WORKER_H

#include <stdint.h>
#include <sys/types.h>
#include "geometry.h"

struct edge_worker {
  const struct edge_geometry *geometry;
  uint32_t slot, generation;
  int null_fd, wake_fd, memfd, code_fd;
  pid_t parent;
};

_Noreturn void edge_worker_run(const struct edge_worker *worker);

#endif
