/* The worker as an attacker who took it over runs it: it does what its environment names. */
/*
 * That happens where it would wait for its next request. Everything before, the filters included, is the real
 * worker.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "attacks.h"

struct life;
static long misbehave(struct life *life, long number, uint32_t *word, int operation, uint32_t value,
                      const void *timeout, const void *second, int third);

#include "../../../native/instance.h"
static enum edge_result misbehave_busy(struct life *life, struct edge_instance *instance, int32_t *detail);

#define syscall(...) misbehave(life, __VA_ARGS__)
#define edge_instance_handle(...) misbehave_busy(life, __VA_ARGS__)
#include "../../../native/worker.c"
#undef edge_instance_handle
#undef syscall

static bool is_asked(const struct life *life, const char *attack) {
  const struct edge_bytes env = life->request.env;
  return env.len == strlen(attack) + 1 && memcmp(env.at, attack, env.len) == 0;
}

/* Exit codes that tell the test how an attack ended. */
enum { REACHED = 77, REFUSED = 78 };

/* Grows the mapping of its own memory, as one would to reach what lies behind it in the file. */
static void remap(const struct life *life) {
  const size_t bytes = edge_geometry_worker_bytes(life->geometry);
  _exit(mremap(life->board, bytes, 2 * bytes, MREMAP_MAYMOVE) == MAP_FAILED ? REFUSED : REACHED);
}

/* The largest mapping that this process had when the library was loaded. */
static volatile uint8_t *inherited;

__attribute__((constructor)) static void inherited_find(void) {
  char line[512];
  unsigned long from, to, most = 0;
  FILE *maps = fopen("/proc/self/maps", "re");
  while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
    if (sscanf(line, "%lx-%lx rw-p", &from, &to) != 2 || strstr(line, " rw-p ") == NULL || to - from < most)
      continue;
    most = to - from;
    inherited = (volatile uint8_t *)from;
  }
  if (maps != NULL) fclose(maps);
}

/* Writes into address space that it has from the engine process, which no limit counts. */
static void fill(void) {
  inherited[0] = inherited[0];
  _exit(REACHED);
}

/* Takes private memory until the kernel gives no more; the exit code says how much, in steps of 16 MiB. */
static void hoard(void) {
  int steps = 0;
  while (steps < REACHED && mmap(NULL, 16u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                                MAP_FAILED)
    steps++;
  _exit(steps);
}

static void flood(struct life *life) {
  for (;;) {
    __atomic_store_n(&life->board->edge_sleeping, 0, __ATOMIC_SEQ_CST);
    (void)send(WAKE_FD, WAKE, sizeof *WAKE, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}

static enum edge_result misbehave_busy(struct life *life, struct edge_instance *instance, int32_t *detail) {
  if (is_asked(life, "ATTACK=flood_busy")) flood(life);
  return edge_instance_handle(instance, detail);
}

static long misbehave(struct life *life, long number, uint32_t *word, int operation, uint32_t value,
                      const void *timeout, const void *second, int third) {
  attack_run(life->request.env.at, life->request.env.len, life->first,
             (size_t)life->geometry->slot_bytes * EDGE_WORKER_SLOTS);
  if (is_asked(life, "ATTACK=remap")) remap(life);
  if (is_asked(life, "ATTACK=fill")) fill();
  if (is_asked(life, "ATTACK=hoard")) hoard();
  while (is_asked(life, "ATTACK=spin"))
    continue;
  if (is_asked(life, "ATTACK=flood")) flood(life);
  while (is_asked(life, "ATTACK=lie")) {
    __atomic_store_n(&life->board->done, ~0u, __ATOMIC_SEQ_CST);
    for (uint32_t i = 1; i < EDGE_WORKER_SLOTS; i++)
      __atomic_store_n(&life->board->state[i], word_of(life, EDGE_SLOT_DONE), __ATOMIC_SEQ_CST);
  }
  return syscall(number, word, operation, value, timeout, second, third);
}
