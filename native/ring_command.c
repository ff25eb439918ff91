/* The edge's side of the command socket: sends packets to the zygote, each with at most one descriptor. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ring_private.h"

int32_t edge_ring_command_open(struct edge_ring *ring) {
  int pair[2];
  edge_ring_command_close(ring);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return edge_ring_fail(errno), -1;
  ring->command_fd = pair[0];
  return pair[1];
}

void edge_ring_command_close(struct edge_ring *ring) {
  if (ring->command_fd >= 0) close(ring->command_fd);
  ring->command_fd = -1;
}

/* Does not wait for room in the socket: a zygote that has stopped reading it must not stop the edge. */
static int32_t command_send(struct edge_ring *ring, const struct edge_command *command, int fd) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control = {.bytes = {0}};
  struct iovec iov = {.iov_base = (void *)(uintptr_t)command, .iov_len = sizeof *command};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
  if (ring->command_fd < 0) return edge_ring_fail(ENOTCONN), -1;
  if (fd >= 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
  }
  for (;;) {
    if (sendmsg(ring->command_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof *command)
      return 0;
    if (errno != EINTR) return edge_ring_fail(errno), -1;
  }
}

int32_t edge_ring_fork(struct edge_ring *ring, uint32_t slot, uint32_t generation, int32_t code_fd) {
  const struct edge_command command = {.kind = EDGE_COMMAND_FORK, .slot = slot, .generation = generation};
  if (slot >= ring->geometry.slots || slot % EDGE_WORKER_SLOTS != 0 || generation == 0 ||
      generation > EDGE_GENERATION_MAX || code_fd < 0) {
    return edge_ring_fail(EINVAL), -1;
  }
  edge_ring_open_worker(ring, slot, generation, EDGE_SLOT_STARTING, EDGE_AWAIT_START);
  if (command_send(ring, &command, code_fd) == 0) return 0;
  edge_ring_open_worker(ring, slot, 0, EDGE_SLOT_FREE, EDGE_AWAIT_NOTHING);
  return -1;
}

int32_t edge_ring_kill(struct edge_ring *ring, uint32_t slot, uint32_t generation) {
  const struct edge_command command = {.kind = EDGE_COMMAND_KILL, .slot = slot, .generation = generation};
  return command_send(ring, &command, -1);
}

int32_t edge_ring_compile(struct edge_ring *ring, uint32_t job, int32_t module_fd, uint32_t memory_bytes,
                          uint32_t cpu_seconds, const void *path, uint32_t path_len) {
  struct edge_command command = {.kind = EDGE_COMMAND_COMPILE,
                                 .slot = job,
                                 .memory_bytes = memory_bytes,
                                 .cpu_seconds = cpu_seconds,
                                 .path_len = path_len};
  if (module_fd < 0 || path_len == 0 || path_len >= EDGE_PATH_MAX) return edge_ring_fail(EINVAL), -1;
  memcpy(command.path, path, path_len);
  return command_send(ring, &command, module_fd);
}

int32_t edge_ring_cancel(struct edge_ring *ring, uint32_t job) {
  const struct edge_command command = {.kind = EDGE_COMMAND_CANCEL, .slot = job};
  return command_send(ring, &command, -1);
}
