/* The worker as an attacker who took it over runs it: it does what its environment names. */
/*
 * That happens where it would wait for its next request. Everything before, the filters included, is the real
 * worker.
 */
#define _GNU_SOURCE
#include <stdint.h>
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

static long misbehave(struct life *life, long number, uint32_t *word, int operation, uint32_t value,
                      const void *timeout, const void *second, int third) {
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
