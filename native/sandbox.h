/*
 * What a child gives up before it touches a guest: environment, memory, files, identity, privileges.
 *
 * The child was just forked and has one thread. It installs the filters of system calls later (seccomp.h).
 */
#ifndef EDGE_SANDBOX_H
#define EDGE_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The user and group that a child becomes when the engine runs as root. */
#define EDGE_SANDBOX_ID 65534u

/* Added to the nice value that the engine has. */
#define EDGE_SANDBOX_NICE 10

/* What a child writes to its oom_score_adj. */
#define EDGE_SANDBOX_OOM_SCORE 800

struct edge_sandbox {
  uint64_t data_bytes;  /* RLIMIT_DATA beyond the VmData of the child as it enters */
  uint64_t stack_bytes; /* RLIMIT_STACK */
  uint64_t file_bytes;  /* RLIMIT_FSIZE */
  uint32_t files;       /* RLIMIT_NOFILE */
  uint32_t cpu_seconds; /* RLIMIT_CPU; 0: none */
  pid_t parent;         /* as getppid names it; the child is killed when it exits */
  const char *name;     /* in the process list, 15 bytes at most */
};

/* What edge_sandbox_open could not do, each as the errno that says why; 0: done. */
struct edge_sandbox_opened {
  int reservations;          /* find the address space that a child must unmap */
  int bounding;              /* empty the set of capabilities that a child could ever get */
  int network, ipc, mounts;  /* enter a namespace; EPERM for another user than root, who may make none */
  int user;                  /* become another user, as a child tried; 0 for another user than root */
};

/*
 * In the zygote, for itself and all its children: notes the address space that a child must unmap, and
 * empties the bounding set of capabilities; as root, enters network, IPC and mount namespaces of its own.
 * Returns 0, or the errno for which no child could be forked.
 */
int edge_sandbox_open(struct edge_sandbox_opened *opened);

/* In the zygote, for all its children: gives every signal its default action. False when one is refused. */
bool edge_sandbox_signals(void);

/*
 * In the child: gives up its priority, the address space that edge_sandbox_open noted, everything that
 * `sandbox` names, every capability, and empties the signal mask. False, with errno, when the kernel refuses
 * a part; the child must then exit. The parts that a machine may lack and the out-of-memory score are given
 * up where the kernel allows: wall.h tries and reports them.
 */
bool edge_sandbox_enter(const struct edge_sandbox *sandbox);

/*
 * Keeps the `count` descriptors of `keep` as 3, 4, ... in their order, makes 0 to 2 copies of `null_fd`, and
 * closes all others. False when a descriptor is not open.
 */
bool edge_sandbox_descriptors(int null_fd, const int *keep, unsigned count);

#endif
