/*
 * One worker from fork to exit: loads one module, then serves the requests in its slots until it is killed.
 *
 * Runs in a child that the zygote just forked, which owns the descriptors. Never returns.
 */
#ifndef EDGE_WORKER_H
#define EDGE_WORKER_H

#include <stdint.h>
#include <sys/types.h>
#include "geometry.h"

struct edge_worker {
  const struct edge_geometry *geometry;
  uint32_t slot, generation;
  int null_fd, wake_fd, memory_fd, code_fd;
  pid_t parent;
};

_Noreturn void edge_worker_run(const struct edge_worker *worker);

#endif
