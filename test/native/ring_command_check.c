/* Plays the zygote against the edge's commands, descriptors and memory, one case per run. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ring_play.h"

static int open_descriptors(void) {
  int count = 0;
  for (int fd = 0; fd < 1024; fd++)
    count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

/* Each worker has memory of its own, which nobody can grow; it is gone, also for the edge, with the worker. */
static void apart_case(void) {
  const int before = open_descriptors();
  MUST(fork_at(8) == 0 && fork_at(16) == 0);
  const int one = fork_read(8), other = fork_read(16);
  struct stat facts, others;
  MUST(fstat(one, &facts) == 0 && fstat(other, &others) == 0 && facts.st_ino != others.st_ino);
  MUST((uint64_t)facts.st_size == edge_geometry_worker_bytes(&geometry) && facts.st_size == others.st_size);
  MUST(ftruncate(one, 2 * facts.st_size) == -1 && ftruncate(one, EDGE_PAGE) == -1);
  uint8_t *mine = mmap(NULL, (size_t)facts.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, one, 0);
  MUST(mine != MAP_FAILED);
  MUST(memcmp(mine + EDGE_PAGE + geometry.offset[EDGE_PART_REQUEST_HEAD], "start", 5) == 0);
  memset(mine, 0xff, EDGE_PAGE);
  MUST(board_of(8)->done == ~0u && board_of(16)->done == 0);
  edge_ring_free(ring, 8);
  MUST(board_of(8)->done == 0 && mine[0] == 0xff);
  MUST(fork_at(8) == 0);
  const int next = fork_read(8);
  memset(mine, 0xff, EDGE_PAGE);
  MUST(board_of(8)->done == 0 && *state_of(8) == (GENERATION << 8 | EDGE_SLOT_STARTING));
  close(one);
  close(other);
  close(next);
  edge_ring_free(ring, 8);
  edge_ring_free(ring, 16);
  MUST(open_descriptors() == before);
}

static void code_case(void) {
  char byte = 0;
  const int code = edge_code_open("code", 4);
  MUST(pread(code, &byte, 1, 3) == 1 && byte == 'e' && pread(code, &byte, 1, 4) == 0);
  MUST(pwrite(code, &byte, 1, 0) == -1 && ftruncate(code, 2) == -1 && ftruncate(code, 8) == -1);
  MUST(fcntl(code, F_ADD_SEALS, F_SEAL_WRITE) == -1);
  edge_fd_close(code);
}

/* What the zygote sends for a child that it forked; without a descriptor where `fd` is -1. */
static void hand_over(struct edge_handle handle, int fd) {
  MUST(edge_packet_send(command_fd, &handle, sizeof handle, &fd, fd >= 0, MSG_DONTWAIT) == 0);
}

/* A child that never ends by itself; its pidfd. */
static int spinner(pid_t *pid) {
  *pid = fork();
  MUST(*pid >= 0);
  for (volatile int spin = 1; *pid == 0 && spin;)
    continue;
  const int fd = (int)syscall(SYS_pidfd_open, *pid, 0);
  MUST(fd >= 0);
  return fd;
}

static void must_be_killed(pid_t pid) {
  int status;
  MUST(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Fills the command socket, so that no command gets through. */
static void stuff(void) {
  const int code = edge_code_open("code", 4);
  while (edge_ring_compile(ring, 1, code, 5, 6, "/out", 4) == 0)
    continue;
  edge_fd_close(code);
}

static void handle_case(void) {
  pid_t worker, compile, other;
  const int before = open_descriptors(), code = edge_code_open("code", 4);
  start(8);
  MUST(edge_ring_kill(ring, 8, GENERATION) == -1); /* not known yet */
  MUST(edge_ring_compile(ring, 4, code, 5, 6, "/out", 4) == 0 && edge_ring_cancel(ring, 4) == -1);
  (void)command_read();
  int fd = spinner(&worker);
  hand_over((struct edge_handle){EDGE_COMMAND_FORK, 8, GENERATION}, fd);
  close(fd);
  fd = spinner(&compile);
  hand_over((struct edge_handle){EDGE_COMMAND_COMPILE, 4, 0}, fd);
  close(fd);
  fd = spinner(&other);
  const struct edge_handle stray[] = {{EDGE_COMMAND_FORK, 8, GENERATION + 1}, {EDGE_COMMAND_FORK, 9, GENERATION},
                                      {EDGE_COMMAND_FORK, SLOTS, 1},          {EDGE_COMMAND_FORK, 16, 0},
                                      {EDGE_COMMAND_COMPILE, 5, 0},           {EDGE_COMMAND_KILL, 8, GENERATION},
                                      {EDGE_COMMAND_FORK, 8, GENERATION}};
  for (size_t i = 0; i < sizeof stray / sizeof stray[0]; i++)
    hand_over(stray[i], fd);
  MUST(send(command_fd, "x", 1, MSG_DONTWAIT) == 1);
  close(fd);
  edge_ring_adopt(ring);
  MUST(open_descriptors() == before + 4); /* code, memory, and what names a child of the ring */
  edge_fd_close(code);
  stuff(); /* a new job: the pidfd of the old one is given back */
  MUST(edge_ring_kill(ring, 8, GENERATION - 1) == -1 && edge_ring_kill(ring, 9, GENERATION) == -1);
  MUST(edge_ring_kill(ring, 8, GENERATION) == 0);
  must_be_killed(worker);
  MUST(edge_ring_kill(ring, 8, GENERATION) == 0); /* it has ended */
  edge_ring_free(ring, 8);
  MUST(open_descriptors() == before && edge_ring_kill(ring, 8, GENERATION) == -1);
  MUST(kill(other, SIGKILL) == 0 && kill(compile, SIGKILL) == 0);
  must_be_killed(other);
  must_be_killed(compile);
}

static void cancel_case(void) {
  pid_t compile;
  const int before = open_descriptors();
  stuff();
  const int fd = spinner(&compile);
  hand_over((struct edge_handle){EDGE_COMMAND_COMPILE, 1, 0}, fd);
  close(fd);
  MUST(edge_ring_cancel(ring, 2) == -1 && edge_ring_cancel(ring, 1) == 0);
  must_be_killed(compile);
  const int again = edge_ring_command_open(ring);
  MUST(again >= 0);
  close(again);
  MUST(open_descriptors() == before); /* the last engine process's children are gone */
}

static void command_case(void) {
  char path[EDGE_PATH_MAX];
  const int code = edge_code_open("code", 4);
  memset(path, 'p', sizeof path);
  start(16);
  hand_over((struct edge_handle){EDGE_COMMAND_FORK, 16, GENERATION}, -1);
  MUST(edge_ring_kill(ring, 16, GENERATION) == 0);
  struct edge_command command = command_read();
  MUST(command.kind == EDGE_COMMAND_KILL && command.slot == 16 && command.generation == GENERATION);
  MUST(edge_ring_compile(ring, 4, code, 5, 6, "/out", 4) == 0);
  command = command_read();
  MUST(command.kind == EDGE_COMMAND_COMPILE && command.slot == 4 && command.memory_bytes == 5);
  MUST(command.cpu_seconds == 6 && command.path_len == 4 && memcmp(command.path, "/out", 5) == 0);
  MUST(edge_ring_compile(ring, 4, code, 5, 6, path, sizeof path) == -1);
  MUST(edge_ring_compile(ring, 4, -1, 5, 6, "/out", 4) == -1);
  hand_over((struct edge_handle){EDGE_COMMAND_COMPILE, 4, 0}, -1);
  MUST(edge_ring_cancel(ring, 4) == 0 && command_read().kind == EDGE_COMMAND_CANCEL);
  MUST(edge_ring_fork(ring, 8, 0, code, "", 0) == -1 && edge_ring_fork(ring, 8, 1u << 24, code, "", 0) == -1);
  MUST(edge_ring_fork(ring, 3, 1, code, "", 0) == -1 && edge_ring_fork(ring, SLOTS, 1, code, "", 0) == -1);
  MUST(edge_ring_fork(ring, 8, 1, code, path, HEAD + 1) == -1 && edge_ring_fork(ring, 8, 1, -1, "", 0) == -1);
  while (edge_ring_kill(ring, 16, GENERATION) == 0)
    continue; /* a full socket refuses, and never waits */
  MUST(edge_ring_fork(ring, 8, 1, code, "", 0) == -1);
  MUST(*state_of(8) == EDGE_SLOT_FREE && *state_of(9) == EDGE_SLOT_FREE);
  close(command_fd);
  MUST(edge_ring_kill(ring, 16, GENERATION) == -1);
  edge_ring_command_close(ring);
  MUST(edge_ring_kill(ring, 16, GENERATION) == -1);
  edge_fd_close(code);
}

int main(int count, char **arguments) {
  static const struct play_case CASES[] = {{"code", code_case}, {"command", command_case}, {"handle", handle_case}, {"cancel", cancel_case}, {"apart", apart_case}};
  return play(count, arguments, CASES, sizeof CASES / sizeof CASES[0]);
}
