/*
 * What a child gives up before it touches a guest: environment, limits, identity, privileges.
 *
 * For a freshly forked process with one thread. The filters of system calls follow later (seccomp.h).
 */
#ifndef EDGE_SANDBOX_H
#define EDGE_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Whom a child becomes when the engine runs as root. */
#define EDGE_SANDBOX_ID 65534u

struct edge_sandbox {
  uint64_t data_bytes;  /* RLIMIT_DATA above the VmData at this moment */
  uint64_t stack_bytes; /* RLIMIT_STACK */
  uint64_t file_bytes;  /* RLIMIT_FSIZE */
  uint32_t files;       /* RLIMIT_NOFILE */
  uint32_t cpu_seconds; /* RLIMIT_CPU; 0: none */
  pid_t parent;         /* ends with it */
  const char *name;     /* as the process list shows it, up to 15 bytes */
  /*
   * Becomes the working directory, as root the root too where allowed, and the only place where a path opens;
   * NULL: no path opens.
   */
  const char *directory;
};

/* In the zygote, for all its children: every signal has its default action again. */
void edge_sandbox_signals(void);

/*
 * Also empties the signal mask. False when something that the wall needs is refused; identity and out-of-
 * memory score are given up where allowed, and paths where the kernel has Landlock (5.13).
 */
bool edge_sandbox_enter(const struct edge_sandbox *sandbox);

/*
 * Keeps `count` descriptors, as 3, 4, ... in their order, points 0 to 2 at `null_fd`, and closes all others.
 * False when a descriptor is bad.
 */
bool edge_sandbox_descriptors(int null_fd, const int *keep, unsigned count);

/*
 * As root: empty network, IPC and mount namespaces for this process and its children, where the kernel
 * allows.
 */
void edge_sandbox_namespaces(void);

#endif
