/* Plays an honest or lying worker against the edge's side of the slots, one case per run. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "ring_play.h"

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
  MUST(edge_ring_drain(ring, SLOTS) == 0 && board_of(3)->edge_sleeping == 1);
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
  start(3);
  finish(5, GENERATION, EDGE_SLOT_DONE);
  finish(6, 0, EDGE_SLOT_READY);
  board_of(3)->done = ~0u;
  MUST(edge_ring_drain(ring, SLOTS) == 0);
  MUST(post(4) == 0);
  board_of(3)->done = ~0u;
  MUST(edge_ring_drain(ring, SLOTS) == 0 && edge_ring_withdraw(ring, 4, GENERATION) == 0);
  finish(3, GENERATION, EDGE_SLOT_DONE);
  MUST(edge_ring_drain(ring, SLOTS) == 0 && post(3) == -1);
  finish(3, GENERATION, EDGE_SLOT_FAILED);
  finish(0, GENERATION, EDGE_SLOT_FAILED);
  MUST(edge_ring_drain(ring, SLOTS) == 0);
}

static void lengths_case(void) {
  start(3);
  uint32_t *const lies[] = {&slot_of(3)->response_head_len, &slot_of(3)->response_body_len,
                            &slot_of(3)->log_len, &slot_of(3)->result};
  const uint32_t limits[] = {geometry.bytes[EDGE_PART_RESPONSE_HEAD], geometry.bytes[EDGE_PART_RESPONSE_BODY],
                             geometry.bytes[EDGE_PART_LOG], EDGE_RESULT_INSTANTIATE_FAILED};
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

static void start_log_case(void) {
  MUST(fork_at(0) == 0);
  close(fork_read(0));
  MUST(edge_ring_logged(ring, 0, GENERATION) == 1 && record(0)[EDGE_TAKEN_LOG_BYTES] == 0);
  slot_of(0)->log_len = UINT32_MAX;
  MUST(edge_ring_logged(ring, 0, GENERATION) == 1);
  MUST(record(0)[EDGE_TAKEN_LOG_BYTES] == geometry.bytes[EDGE_PART_LOG]);
  slot_of(0)->log_len = 12;
  finish(0, GENERATION, EDGE_SLOT_FAILED);
  MUST(edge_ring_drain(ring, SLOTS) == 1 && record(0)[EDGE_TAKEN_STATE] == EDGE_SLOT_FAILED);
  MUST(edge_ring_logged(ring, 0, GENERATION) == 1 && record(0)[EDGE_TAKEN_LOG_BYTES] == 12);
  MUST(edge_ring_logged(ring, 0, GENERATION + 1) == 0 && post(0) == -1);
  edge_ring_free(ring, 0);
  MUST(edge_ring_logged(ring, 0, GENERATION) == 0);
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
  MUST(edge_ring_drain(ring, 3) == 3);
  MUST(edge_ring_drain(ring, SLOTS) == SLOTS - 3 && board_of(3)->edge_sleeping == 1);
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
  MUST(*state_of(3) == EDGE_SLOT_FREE && slot_of(3)->response_body_len == 0 && post(3) == -1);
  start(3);
  MUST(resident(request, BODY) == 0 && request[0] == 0 && response[BODY - 1] == 0);
}

/* A worker may fill the bodies of a request while it has it; what a request without a body leaves is small. */
static void excess_case(void) {
  uint8_t *const spare = (uint8_t *)slot_of(5) + geometry.offset[EDGE_PART_RESPONSE_BODY];
  uint8_t *const used = (uint8_t *)slot_of(3);
  start(3);
  MUST(edge_ring_excess_pages(ring, 0) == 0 && post(3) == 0);
  memset(used + geometry.offset[EDGE_PART_REQUEST_BODY], 1, 2 * BODY);
  MUST(edge_ring_excess_pages(ring, 0) == 0);
  memset(spare, 1, BODY);
  const uint32_t excess = edge_ring_excess_pages(ring, 0);
  MUST(excess > 0 && excess < BODY / EDGE_PAGE);
  MUST(edge_ring_withdraw(ring, 3, GENERATION) == 0 && edge_ring_excess_pages(ring, 0) > excess);
  MUST(edge_ring_excess_pages(ring, 3) == 0 && edge_ring_excess_pages(ring, 8) == 0);
  edge_ring_free(ring, 0);
  MUST(edge_ring_excess_pages(ring, 0) == 0);
}

/* A worker wakes the edge for what it does after a post, whatever it did with the flag while it was idle. */
static void sleeping_case(void) {
  start(8);
  board_of(8)->edge_sleeping = 0;
  MUST(post(8) == 0 && board_of(8)->edge_sleeping == 1);
  board_of(8)->edge_sleeping = 7;
  MUST(edge_ring_drain(ring, SLOTS) == 0 && board_of(8)->edge_sleeping == 1);
}

int main(int count, char **arguments) {
  static const struct play_case CASES[] = {
      {"geometry", geometry_case}, {"answer", answer_case},     {"once", once_case},
      {"unasked", unasked_case},   {"lengths", lengths_case},   {"post", post_case},
      {"withdraw", withdraw_case}, {"waiting", waiting_case},   {"pages", pages_case},
      {"logged", logged_case},     {"sleeping", sleeping_case}, {"start_log", start_log_case},
      {"many", many_case},         {"generation", generation_case}, {"excess", excess_case}};
  return play(count, arguments, CASES, sizeof CASES / sizeof CASES[0]);
}
