/* Plays an honest or lying zygote and worker against the edge's side of the ring, one case per run. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../native/geometry.h"
#include "../../native/packet.h"
#include "../../native/ring.h"

#define SLOTS 40u
#define HEAD 8192u
#define BODY (1u << 20)
#define GENERATION 7u

static struct edge_ring *ring;
static struct edge_geometry geometry;
static int command_fd;

#define MUST(condition)                                                                                      \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                                \
      exit(1);                                                                                               \
    }                                                                                                        \
  } while (0)

static struct edge_slot *slot_of(uint32_t slot) { return edge_ring_slot(ring, slot); }

static struct edge_ring_header *header_of(void) {
  return (struct edge_ring_header *)(void *)((uint8_t *)edge_ring_slot(ring, 0) - EDGE_PAGE);
}

static const uint32_t *record(uint32_t index) {
  return (const uint32_t *)edge_ring_taken(ring) + (size_t)index * EDGE_TAKEN_WORDS;
}

static uint32_t first_of(uint32_t slot) { return slot - slot % EDGE_WORKER_SLOTS; }

static struct edge_board *board_of(uint32_t slot) { return &slot_of(first_of(slot))->board; }

static uint32_t *state_of(uint32_t slot) { return &board_of(slot)->state[slot % EDGE_WORKER_SLOTS]; }

/* Finishes a slot as a worker does: sets its state, then its done bit. */
static void finish(uint32_t slot, uint32_t generation, uint32_t state) {
  *state_of(slot) = generation << 8 | state;
  header_of()->done[slot / 32] |= 1u << (slot % 32);
}

static struct edge_command command_read(void) {
  struct edge_command command;
  MUST(recv(command_fd, &command, sizeof command, MSG_DONTWAIT) == (ssize_t)sizeof command);
  return command;
}

/* Starts the worker that has this slot. */
static void start(uint32_t any) {
  const uint32_t slot = first_of(any);
  const int code = edge_code_open("code", 4);
  MUST(edge_ring_fork(ring, slot, GENERATION, code) == 0);
  edge_fd_close(code);
  const struct edge_command command = command_read();
  MUST(command.kind == EDGE_COMMAND_FORK && command.slot == slot && command.generation == GENERATION);
  finish(slot, GENERATION, EDGE_SLOT_READY);
  MUST(edge_ring_drain(ring, SLOTS) == 1 && record(0)[0] == slot && record(0)[2] == EDGE_SLOT_READY);
}

static int32_t post(uint32_t slot) { return edge_ring_post(ring, slot, GENERATION, 3, 1, 2, 4, 5); }

static void geometry_case(void) {
  MUST(edge_ring_slot_bytes(ring) == geometry.slot_bytes);
  for (uint32_t part = 0; part < EDGE_PARTS; part++) {
    MUST(edge_ring_offset(ring, part) == geometry.offset[part] && geometry.offset[part] % EDGE_PAGE == 0);
  }
  MUST(edge_ring_slot(ring, SLOTS) == NULL);
  MUST(edge_ring_open(0, HEAD, BODY, HEAD, BODY, HEAD) == NULL);
  MUST(edge_ring_open(EDGE_WORKER_SLOTS - 1, HEAD, BODY, HEAD, BODY, HEAD) == NULL);
  MUST(edge_ring_open(EDGE_SLOTS_MAX + EDGE_WORKER_SLOTS, HEAD, BODY, HEAD, BODY, HEAD) == NULL);
  MUST(edge_ring_open(EDGE_WORKER_SLOTS, HEAD, UINT32_MAX, HEAD, UINT32_MAX, HEAD) == NULL);
}

static void answer_case(void) {
  start(3);
  MUST(post(3) == 0 && *state_of(3) == (GENERATION << 8 | EDGE_SLOT_REQUEST));
  MUST(edge_ring_drain(ring, SLOTS) == 0 && header_of()->edge_sleeping == 1);
  slot_of(3)->status = 201;
  slot_of(3)->response_body_len = 9;
  finish(3, GENERATION, EDGE_SLOT_DONE);
  MUST(edge_ring_drain(ring, SLOTS) == 1);
  const uint32_t expected[] = {3, GENERATION, EDGE_SLOT_DONE, 0, 0, 201, 0, 9, 0, 0, 0, 1};
  MUST(memcmp(record(0), expected, sizeof expected) == 0);
  MUST(post(3) == -1 && edge_ring_release(ring, 3, GENERATION) == 0 && post(3) == 0);
}

static void once_case(void) {
  start(3);
  finish(0, GENERATION, EDGE_SLOT_READY);
  MUST(edge_ring_drain(ring, SLOTS) == 0 && post(3) == 0);
  finish(3, GENERATION, EDGE_SLOT_DONE);
  MUST(edge_ring_look(ring, 3, GENERATION) == 1);
  MUST(edge_ring_look(ring, 3, GENERATION) == 0 && edge_ring_drain(ring, SLOTS) == 0);
}

static void generation_case(void) {
  start(3);
  MUST(post(3) == 0);
  finish(3, GENERATION - 1, EDGE_SLOT_DONE);
  MUST(edge_ring_drain(ring, SLOTS) == 0 && edge_ring_look(ring, 3, GENERATION) == 0);
  finish(3, GENERATION, EDGE_SLOT_DONE);
  MUST(edge_ring_look(ring, 3, GENERATION - 1) == 0);
  MUST(edge_ring_release(ring, 3, GENERATION) == -1);
  MUST(edge_ring_drain(ring, SLOTS) == 1 && edge_ring_release(ring, 3, GENERATION + 1) == -1);
  MUST(edge_ring_post(ring, 3, GENERATION + 1, 0, 0, 0, 0, 0) == -1);
}

static void unasked_case(void) {
  finish(5, GENERATION, EDGE_SLOT_DONE);
  finish(6, 0, EDGE_SLOT_READY);
  memset(header_of()->done, 0xff, sizeof header_of()->done);
  MUST(edge_ring_drain(ring, SLOTS) == 0);
  start(3);
  finish(3, GENERATION, EDGE_SLOT_DONE);
  MUST(edge_ring_drain(ring, SLOTS) == 0 && post(3) == -1);
  finish(3, GENERATION, EDGE_SLOT_FAILED);
  finish(0, GENERATION, EDGE_SLOT_FAILED);
  MUST(edge_ring_drain(ring, SLOTS) == 0);
}

static void lengths_case(void) {
  uint32_t *const lies[] = {&slot_of(3)->response_head_len, &slot_of(3)->response_body_len,
                            &slot_of(3)->log_len, &slot_of(3)->result};
  const uint32_t limits[] = {geometry.bytes[EDGE_PART_RESPONSE_HEAD], geometry.bytes[EDGE_PART_RESPONSE_BODY],
                             geometry.bytes[EDGE_PART_LOG], EDGE_RESULT_INSTANTIATE_FAILED};
  start(3);
  for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
    for (uint32_t over = 0; over < 2; over++) {
      MUST(post(3) == 0);
      *lies[i] = limits[i] + over;
      finish(3, GENERATION, EDGE_SLOT_DONE);
      MUST(edge_ring_drain(ring, SLOTS) == 1 && record(0)[11] == 1 - over);
      MUST(edge_ring_release(ring, 3, GENERATION) == 0);
    }
    *lies[i] = 0;
  }
}

/* The edge reads the log of a request whose worker it kills, and believes no length beyond the area. */
static void logged_case(void) {
  const uint32_t room = geometry.bytes[EDGE_PART_LOG];
  start(3);
  slot_of(3)->log_len = 12;
  MUST(edge_ring_logged(ring, 3, GENERATION) == 0 && edge_ring_logged(ring, SLOTS, GENERATION) == 0);
  MUST(post(3) == 0 && edge_ring_logged(ring, 3, GENERATION) == 1 && record(0)[EDGE_TAKEN_LOG_BYTES] == 0);
  slot_of(3)->log_len = room;
  slot_of(3)->log_dropped = 5;
  MUST(edge_ring_logged(ring, 3, GENERATION) == 1 && record(0)[EDGE_TAKEN_LOG_BYTES] == room);
  MUST(record(0)[EDGE_TAKEN_LOG_DROPPED] == 5 && edge_ring_logged(ring, 3, GENERATION + 1) == 0);
  slot_of(3)->log_len = UINT32_MAX;
  MUST(edge_ring_logged(ring, 3, GENERATION) == 1 && record(0)[EDGE_TAKEN_LOG_BYTES] == room);
  finish(3, GENERATION, EDGE_SLOT_DONE); /* not a valid answer */
  MUST(edge_ring_drain(ring, SLOTS) == 1 && record(0)[EDGE_TAKEN_IS_VALID] == 0);
  MUST(edge_ring_logged(ring, 3, GENERATION) == 1 && edge_ring_release(ring, 3, GENERATION) == 0);
  MUST(edge_ring_logged(ring, 3, GENERATION) == 0 && post(3) == 0);
  MUST(edge_ring_logged(ring, 3, GENERATION) == 1 && record(0)[EDGE_TAKEN_LOG_BYTES] == 0);
  MUST(record(0)[EDGE_TAKEN_LOG_DROPPED] == 0 && edge_ring_withdraw(ring, 3, GENERATION) == 0);
  MUST(edge_ring_logged(ring, 3, GENERATION) == 0);
}

static void post_case(void) {
  MUST(post(3) == -1);
  start(3);
  MUST(edge_ring_post(ring, 3, GENERATION, HEAD, 1, 0, 0, 0) == -1);
  MUST(edge_ring_post(ring, 3, GENERATION, UINT32_MAX, 1, 0, 0, 0) == -1);
  MUST(edge_ring_post(ring, 3, GENERATION, 0, 0, 0, 0, BODY + 1) == -1);
  MUST(edge_ring_post(ring, SLOTS, GENERATION, 0, 0, 0, 0, 0) == -1);
  *state_of(3) = GENERATION << 8 | EDGE_SLOT_REQUEST;
  MUST(post(3) == -1);
  *state_of(3) = GENERATION << 8 | EDGE_SLOT_READY;
  MUST(edge_ring_post(ring, 3, GENERATION, HEAD, 0, 0, 0, BODY) == 0 && post(3) == -1);
}

/* The edge gets back a request that waits behind another, and none that is running, done or taken. */
static void withdraw_case(void) {
  start(8);
  for (uint32_t slot = 8; slot < 12; slot++)
    MUST(post(slot) == 0);
  *state_of(8) = GENERATION << 8 | EDGE_SLOT_RUNNING;
  finish(9, GENERATION, EDGE_SLOT_DONE);
  MUST(edge_ring_withdraw(ring, 8, GENERATION) == -1 && edge_ring_withdraw(ring, 9, GENERATION) == -1);
  MUST(edge_ring_withdraw(ring, 10, GENERATION + 1) == -1);
  MUST(edge_ring_withdraw(ring, SLOTS, GENERATION) == -1);
  MUST(edge_ring_withdraw(ring, 10, GENERATION) == 0 && edge_ring_withdraw(ring, 10, GENERATION) == -1);
  finish(10, GENERATION, EDGE_SLOT_DONE); /* the edge ignores an answer to a withdrawn request */
  MUST(edge_ring_drain(ring, SLOTS) == 1 && record(0)[0] == 9 && post(10) == -1);
  *state_of(10) = GENERATION << 8 | EDGE_SLOT_READY;
  MUST(post(10) == 0 && edge_ring_look(ring, 11, GENERATION) == 0);
  finish(11, GENERATION, EDGE_SLOT_DONE);
  MUST(edge_ring_withdraw(ring, 11, GENERATION) == -1 && edge_ring_look(ring, 11, GENERATION) == 1);
}

/* A post wakes a worker that waits. */
static void waiting_case(void) {
  start(8);
  MUST(post(8) == 0 && board_of(8)->waiting == 0);
  board_of(8)->waiting = 1;
  MUST(post(9) == 0 && board_of(8)->waiting == 0);
}

static void many_case(void) {
  for (uint32_t slot = 0; slot < SLOTS; slot += EDGE_WORKER_SLOTS)
    start(slot);
  for (uint32_t slot = 0; slot < SLOTS; slot++) {
    MUST(post(slot) == 0);
    finish(slot, GENERATION, EDGE_SLOT_DONE);
  }
  MUST(edge_ring_drain(ring, 3) == 3 && header_of()->edge_sleeping == 0);
  MUST(edge_ring_drain(ring, SLOTS) == SLOTS - 3 && header_of()->edge_sleeping == 1);
}

static uint32_t resident(const uint8_t *at, uint32_t bytes) {
  static unsigned char pages[BODY / EDGE_PAGE];
  uint32_t count = 0;
  MUST(mincore((void *)(uintptr_t)at, bytes, pages) == 0);
  for (uint32_t i = 0; i < bytes / EDGE_PAGE; i++)
    count += pages[i] & 1u;
  return count;
}

static void pages_case(void) {
  uint8_t *const request = (uint8_t *)slot_of(3) + geometry.offset[EDGE_PART_REQUEST_BODY];
  uint8_t *const response = (uint8_t *)slot_of(3) + geometry.offset[EDGE_PART_RESPONSE_BODY];
  start(3);
  memset(request, 1, BODY);
  MUST(edge_ring_post(ring, 3, GENERATION, 0, 0, 0, 0, BODY) == 0);
  memset(response, 1, BODY);
  slot_of(3)->response_body_len = BODY;
  finish(3, GENERATION, EDGE_SLOT_DONE);
  MUST(edge_ring_drain(ring, SLOTS) == 1);
  MUST(resident(request, BODY) == BODY / EDGE_PAGE && resident(response, BODY) == BODY / EDGE_PAGE);
  MUST(edge_ring_release(ring, 3, GENERATION) == 0);
  MUST(resident(request, BODY) == 4 && resident(response, BODY) == 4);
  edge_ring_free(ring, 3); /* not the first slot of a worker */
  MUST(resident(request, BODY) == 4);
  edge_ring_free(ring, 0);
  MUST(resident(request, BODY) == 0 && *state_of(3) == EDGE_SLOT_FREE && post(3) == -1);
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
  MUST(edge_packet_send(command_fd, &handle, sizeof handle, fd, MSG_DONTWAIT) == 0);
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

static int open_descriptors(void) {
  int count = 0;
  for (int fd = 0; fd < 1024; fd++)
    count += fcntl(fd, F_GETFD) >= 0;
  return count;
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
  MUST(open_descriptors() == before + 3); /* the code, and what names a child of the ring */
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
  MUST(edge_ring_fork(ring, 8, 0, code) == -1 && edge_ring_fork(ring, 8, 1u << 24, code) == -1);
  MUST(edge_ring_fork(ring, 3, 1, code) == -1 && edge_ring_fork(ring, SLOTS, 1, code) == -1);
  while (edge_ring_kill(ring, 16, GENERATION) == 0)
    continue; /* a full socket refuses, and never waits */
  MUST(edge_ring_fork(ring, 8, 1, code) == -1);
  MUST(*state_of(8) == EDGE_SLOT_FREE && *state_of(9) == EDGE_SLOT_FREE);
  close(command_fd);
  MUST(edge_ring_kill(ring, 16, GENERATION) == -1);
  edge_ring_command_close(ring);
  MUST(edge_ring_kill(ring, 16, GENERATION) == -1);
  edge_fd_close(code);
}

int main(int count, char **arguments) {
  static const struct {
    const char *name;
    void (*run)(void);
  } CASES[] = {{"geometry", geometry_case}, {"answer", answer_case},
               {"once", once_case},         {"generation", generation_case},
               {"unasked", unasked_case},   {"lengths", lengths_case},
               {"post", post_case},         {"many", many_case},
               {"withdraw", withdraw_case}, {"waiting", waiting_case},
               {"pages", pages_case},       {"code", code_case},
               {"command", command_case},   {"handle", handle_case},
               {"cancel", cancel_case},     {"logged", logged_case}};
  const uint32_t bytes[EDGE_PARTS] = {HEAD, HEAD, HEAD, BODY, BODY};
  ring = edge_ring_open(SLOTS, HEAD, BODY, HEAD, BODY, HEAD);
  MUST(ring != NULL && edge_geometry_fill(&geometry, SLOTS, bytes));
  command_fd = edge_ring_command_open(ring);
  MUST(command_fd >= 0);
  for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
    if (count == 2 && strcmp(arguments[1], CASES[i].name) == 0) {
      CASES[i].run();
      edge_ring_close(ring);
      return 0;
    }
  }
  return 2;
}
