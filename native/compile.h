/*
 * Ahead-of-time compiles: work that an attacker chooses, done in a child with a private directory.
 *
 * The child works in the directory `<path>.d`. After its end the zygote takes the result from there or throws
 * it away. The caller runs one compile per path at a time.
 */
#ifndef EDGE_COMPILE_H
#define EDGE_COMPILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct edge_compile {
  int null_fd, module_fd;
  const char *path; /* absolute */
  uint32_t memory_bytes, cpu_seconds;
  pid_t parent;
};

/* In the zygote, before the fork: makes the private directory; 0, or an errno. */
int edge_compile_prepare(const char *path);

/* In the child: reads the module, compiles it, and exits with a code of enum edge_compile_exit. */
_Noreturn void edge_compile_run(const struct edge_compile *compile);

/*
 * In the zygote, after the child was reaped: removes the directory, and moves the result to `path` if it is
 * `complete`. True when it is there.
 */
bool edge_compile_collect(const char *path, bool complete);

#endif
