/*
 * A process namespace for each compile child: no process outside of it has a number there.
 *
 * Root makes one as it is. Another user makes it together with a user namespace, in which the child keeps no
 * capability. Where the kernel allows neither, the child is forked as usual.
 */
#ifndef EDGE_NAMESPACE_H
#define EDGE_NAMESPACE_H

#include <stdbool.h>
#include <sys/types.h>

struct edge_namespace {
  unsigned long flags; /* of clone; 0: none */
  int parent_fd;       /* a pidfd of this process, open while `flags` is not 0 */
};

/* In the zygote: finds out by trying; 0, or the errno for which children get none. */
int edge_namespace_open(struct edge_namespace *made);

/* As fork; the child is the first process of a namespace of its own, where getppid is 0. -1 with errno. */
pid_t edge_namespace_fork(const struct edge_namespace *made);

/* In the child, after PR_SET_PDEATHSIG: whether the parent, of which it has a pidfd, was faster to end. */
bool edge_namespace_is_orphan(int parent_fd);

#endif
