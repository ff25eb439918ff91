/* The edge's side of the command socket: sends packets to the zygote, each with at most one descriptor. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "packet.h"
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
  edge_handles_close(ring);
}

/* Does not wait for room in the socket: a zygote that has stopped reading it must not stop the edge. */
static int32_t command_send(struct edge_ring *ring, const struct edge_command *command, const int *fds,
                            unsigned count) {
  const int error =
      ring->command_fd < 0
          ? ENOTCONN
          : edge_packet_send(ring->command_fd, command, sizeof *command, fds, count, MSG_DONTWAIT);
  if (error == 0) return 0;
  return edge_ring_fail(error), -1;
}

int32_t edge_ring_ping(struct edge_ring *ring) {
  const struct edge_command command = {.kind = EDGE_COMMAND_PING};
  return command_send(ring, &command, NULL, 0);
}

void edge_ring_adopt(struct edge_ring *ring) { edge_handles_take(ring); }

/*
 * Kills a child whose pidfd has come. One without a pidfd, or that only the zygote may kill, is killed by
 * command; one that the zygote has not forked yet is killed by a later call.
 */
static int32_t child_kill(struct edge_ring *ring, int handle, const struct edge_command *command) {
  if (edge_handle_kill(handle)) return 0;
  if (handle == EDGE_HANDLE_UNKNOWN) return edge_ring_fail(EAGAIN), -1;
  return command_send(ring, command, NULL, 0);
}

int32_t edge_ring_fork(struct edge_ring *ring, uint32_t slot, uint32_t generation, int32_t code_fd,
                       const void *start, uint32_t start_bytes) {
  const struct edge_command command = {.kind = EDGE_COMMAND_FORK, .slot = slot, .generation = generation};
  if (slot >= ring->geometry.slots || slot % EDGE_WORKER_SLOTS != 0 || generation == 0 ||
      generation > EDGE_GENERATION_MAX || code_fd < 0 ||
      start_bytes > ring->geometry.bytes[EDGE_PART_REQUEST_HEAD]) {
    return edge_ring_fail(EINVAL), -1;
  }
  edge_handles_take(ring);
  edge_handle_drop(&ring->worker[slot / EDGE_WORKER_SLOTS]);
  const int memory_fd = edge_memory_open(ring, slot);
  if (memory_fd < 0) return -1;
  uint8_t *first = edge_ring_slot(ring, slot);
  memcpy(first + ring->geometry.offset[EDGE_PART_REQUEST_HEAD], start, start_bytes);
  edge_ring_open_worker(ring, slot, generation);
  const int32_t sent = command_send(ring, &command, (const int[]){code_fd, memory_fd}, EDGE_FORK_FDS);
  if (sent != 0) edge_ring_free(ring, slot);
  return sent;
}

int32_t edge_ring_kill(struct edge_ring *ring, uint32_t slot, uint32_t generation) {
  const struct edge_command command = {.kind = EDGE_COMMAND_KILL, .slot = slot, .generation = generation};
  if (slot >= ring->geometry.slots || slot % EDGE_WORKER_SLOTS != 0 || generation == 0 ||
      ring->note[slot].generation != generation) {
    return edge_ring_fail(EINVAL), -1;
  }
  edge_handles_take(ring);
  return child_kill(ring, ring->worker[slot / EDGE_WORKER_SLOTS], &command);
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
  edge_handles_take(ring);
  edge_handle_drop(&ring->compile);
  ring->compile_job = job;
  return command_send(ring, &command, &module_fd, 1);
}

int32_t edge_ring_cancel(struct edge_ring *ring, uint32_t job) {
  const struct edge_command command = {.kind = EDGE_COMMAND_CANCEL, .slot = job};
  if (job != ring->compile_job) return edge_ring_fail(EINVAL), -1;
  edge_handles_take(ring);
  return child_kill(ring, ring->compile, &command);
}
