/*
 * Ahead-of-time compiles: work that an attacker chooses, done in a child that opens no path.
 *
 * The zygote makes the file of the result and a file without a name, and the child has nothing else to write
 * to. The directory of the result belongs to the caller, who removes it with what is in it.
 */
#ifndef EDGE_COMPILE_H
#define EDGE_COMPILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "namespace.h"

/* Bound of each of the two files. */
#define EDGE_COMPILE_FILE_BYTES_MAX 134217728u

/*
 * How many threads LLVM starts, as the first word of its llvm::parallel::strategy: 0 asks for one thread per
 * processor, 1 for none. The child sets it to 1; its filter allows no thread.
 */
#define EDGE_COMPILE_LLVM_THREADS "_ZN4llvm8parallel8strategyE"

struct edge_compile {
  const struct edge_namespace *apart;
  int null_fd, module_fd;
  const char *path; /* absolute; nothing may be there */
  uint32_t memory_bytes, cpu_seconds;
  pid_t parent;
};

/*
 * In the zygote: forks a child that compiles the module and exits with a code of enum edge_compile_exit.
 * Gives its process id, or -errno, and then nothing is at `path`.
 */
pid_t edge_compile_fork(const struct edge_compile *compile);

/*
 * In the zygote, after the child was reaped: true when it is `complete` and its result is at `path`.
 * Otherwise removes that file.
 */
bool edge_compile_collect(const char *path, bool complete);

#endif
