/* The table of the zygote's children: finds a place, kills, reaps. */
#define _GNU_SOURCE
#include "children.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

struct edge_child *edge_children_place(struct edge_children *children) {
  for (size_t i = 0; i < EDGE_CHILDREN_MAX; i++) {
    if (children->child[i].pid == 0) return &children->child[i];
  }
  return NULL;
}

bool edge_children_kill(struct edge_children *children, enum edge_child_kind kind, uint32_t slot,
                        uint32_t generation) {
  bool done = true;
  for (size_t i = 0; i < EDGE_CHILDREN_MAX; i++) {
    const struct edge_child *child = &children->child[i];
    if (child->pid > 0 && child->kind == kind && child->slot == slot && child->generation == generation &&
        kill(child->pid, SIGKILL) != 0) {
      done = false;
    }
  }
  return done;
}

bool edge_children_kill_all(struct edge_children *children) {
  bool done = true;
  for (size_t i = 0; i < EDGE_CHILDREN_MAX; i++) {
    if (children->child[i].pid > 0 && kill(children->child[i].pid, SIGKILL) != 0) done = false;
  }
  return done;
}

bool edge_children_reap(struct edge_children *children, int options, struct edge_child_end *end) {
  for (;;) {
    const pid_t pid = wait4(-1, &end->status, options, &end->usage);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return false;
    for (size_t i = 0; i < EDGE_CHILDREN_MAX; i++) {
      if (children->child[i].pid != pid) continue;
      end->child = children->child[i];
      children->child[i].pid = 0;
      return true;
    }
  }
}
