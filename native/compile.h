/*
 * Ahead-of-time compiles: attacker-controlled work in a child of its own, inside a private directory.
 *
 * The child sees only the directory `<path>.d`; what it leaves there is taken or thrown away by the zygote
 * after its end. The caller runs one compile per path at a time.
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

/* In the zygote, before the fork: makes the private directory; 0 or an errno. */
int edge_compile_prepare(const char *path);

/* In the child: reads the module, compiles, ends with a code of enum edge_compile_exit. */
_Noreturn void edge_compile_run(const struct edge_compile *compile);

/*
 * In the zygote, after the child: moves a complete result to `path`, removes the directory; false: no result.
 */
bool edge_compile_collect(const char *path, bool complete);

#endif
