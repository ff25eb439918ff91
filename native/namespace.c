/* Forks a child into a process namespace of its own. */
#define _GNU_SOURCE
#include "namespace.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIAL_DONE = 0, TRIAL_REFUSED = 1 };

/* A new user namespace gives its first process every capability in it. */
static bool capabilities_drop(void) {
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
  const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
  return syscall(SYS_capset, &head, none) == 0;
}

pid_t edge_namespace_fork(const struct edge_namespace *made) {
  if (made->flags == 0) return fork();
  /* What fork of libc does besides is for other threads, and there are none. */
  const pid_t pid = (pid_t)syscall(SYS_clone, made->flags | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0 && (made->flags & CLONE_NEWUSER) != 0 && !capabilities_drop()) _exit(TRIAL_REFUSED);
  return pid;
}

static int namespace_try(const struct edge_namespace *made) {
  int status = 0;
  const pid_t pid = edge_namespace_fork(made);
  if (pid == 0) _exit(getppid() == 0 ? TRIAL_DONE : TRIAL_REFUSED);
  if (pid < 0) return errno;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return errno;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == TRIAL_DONE ? 0 : EPERM;
}

int edge_namespace_open(struct edge_namespace *made) {
  made->flags = CLONE_NEWPID;
  if (geteuid() != 0) made->flags |= CLONE_NEWUSER;
  made->parent_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  const int error = made->parent_fd < 0 ? errno : namespace_try(made);
  if (error == 0) return 0;
  if (made->parent_fd >= 0) close(made->parent_fd);
  *made = (struct edge_namespace){.flags = 0, .parent_fd = -1};
  return error;
}

bool edge_namespace_is_orphan(int parent_fd) {
  struct pollfd parent = {.fd = parent_fd, .events = POLLIN};
  return poll(&parent, 1, 0) != 0;
}
