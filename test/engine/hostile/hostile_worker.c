/* The worker as an attacker who took it over runs it: it does what its environment names. */
/*
 * That happens where it would wait for its next request. Everything before, the filters included, is the real
 * worker.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

struct life;
static long misbehave(struct life *life, long number, uint32_t *word, int operation, uint32_t value,
                      const void *timeout, const void *second, int third);

#define syscall(...) misbehave(life, __VA_ARGS__)
#include "../../../native/worker.c"
#undef syscall

static bool is_asked(const struct life *life, const char *attack) {
  const struct edge_bytes env = life->request.env;
  return env.len == strlen(attack) + 1 && memcmp(env.at, attack, env.len) == 0;
}

/* Exit codes that tell the test how an attack ended. */
enum { REACHED = 77, REFUSED = 78 };

/* Grows the mapping of its own slots over those of the other workers, which lie behind it in the ring. */
static void remap(const struct life *life) {
  const size_t bytes = (size_t)life->geometry->slot_bytes * EDGE_WORKER_SLOTS;
  const uint8_t *at = mremap(life->first, bytes, 2 * bytes, MREMAP_MAYMOVE);
  if (at == MAP_FAILED) _exit(REFUSED);
  const struct edge_slot *other = (const struct edge_slot *)(const void *)(at + bytes);
  _exit(other->board.state[0] != 0 ? REACHED : REFUSED);
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

static long misbehave(struct life *life, long number, uint32_t *word, int operation, uint32_t value,
                      const void *timeout, const void *second, int third) {
  if (is_asked(life, "ATTACK=remap")) remap(life);
  if (is_asked(life, "ATTACK=fill")) fill();
  if (is_asked(life, "ATTACK=hoard")) hoard();
  while (is_asked(life, "ATTACK=spin"))
    continue;
  while (is_asked(life, "ATTACK=flood")) {
    __atomic_store_n(&life->header->edge_sleeping, 0, __ATOMIC_SEQ_CST);
    (void)send(WAKE_FD, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  while (is_asked(life, "ATTACK=lie")) {
    for (uint32_t i = 0; i < sizeof life->header->done / sizeof life->header->done[0]; i++)
      __atomic_store_n(&life->header->done[i], ~0u, __ATOMIC_SEQ_CST);
  }
  return syscall(number, word, operation, value, timeout, second, third);
}
