/* What the edge has of the zygote's children: pidfds, through which it kills them, and their CPU clocks. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "packet.h"
#include "ring_private.h"

/* Handles taken at most per call: more than a socket holds, so that a zygote that floods it stops nobody. */
#define TAKE_MAX 4096u

void edge_handles_open(struct edge_ring *ring) {
  ring->compile = EDGE_HANDLE_UNKNOWN;
  for (uint32_t i = 0; i < EDGE_WORKERS_MAX; i++)
    ring->worker[i] = EDGE_HANDLE_UNKNOWN;
}

void edge_handle_drop(int *handle) {
  if (*handle >= 0) close(*handle);
  *handle = EDGE_HANDLE_UNKNOWN;
}

void edge_handles_close(struct edge_ring *ring) {
  edge_handle_drop(&ring->compile);
  for (uint32_t i = 0; i < EDGE_WORKERS_MAX; i++)
    edge_handle_drop(&ring->worker[i]);
}

/* Where the pidfd of the child that a handle names is kept; NULL when the ring has no such child. */
static int *place_of(struct edge_ring *ring, const struct edge_handle *handle) {
  if (handle->kind == EDGE_COMMAND_COMPILE) return handle->slot == ring->compile_job ? &ring->compile : NULL;
  if (handle->kind != EDGE_COMMAND_FORK || handle->slot >= ring->geometry.slots ||
      handle->slot % EDGE_WORKER_SLOTS != 0 || handle->generation == 0 ||
      handle->generation != ring->note[handle->slot].generation) {
    return NULL;
  }
  return &ring->worker[handle->slot / EDGE_WORKER_SLOTS];
}

void edge_handles_take(struct edge_ring *ring) {
  struct edge_handle handle;
  int fd;
  for (uint32_t taken = 0; taken < TAKE_MAX && ring->command_fd >= 0; taken++) {
    const ssize_t got = edge_packet_receive(ring->command_fd, &handle, sizeof handle, &fd, 1);
    if (got <= 0) return;
    int *place = got == (ssize_t)sizeof handle ? place_of(ring, &handle) : NULL;
    if (place != NULL && *place == EDGE_HANDLE_UNKNOWN) {
      *place = fd >= 0 ? fd : EDGE_HANDLE_NONE;
    } else if (fd >= 0) {
      close(fd);
    }
  }
}

bool edge_handle_kill(int handle) {
  if (handle < 0) return false;
  return syscall(SYS_pidfd_send_signal, handle, SIGKILL, NULL, 0) == 0 || errno == ESRCH;
}

uint32_t edge_process_cpu_ms(uint32_t pid) {
  clockid_t clock;
  struct timespec time;
  if (clock_getcpuclockid((pid_t)pid, &clock) != 0 || clock_gettime(clock, &time) != 0) return UINT32_MAX;
  return (uint32_t)(((uint64_t)time.tv_sec * 1000u + (uint64_t)time.tv_nsec / 1000000u) % UINT32_MAX);
}
