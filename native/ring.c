/* The edge's side of the slots: posts requests, takes answers, gives pages back. */
#define _GNU_SOURCE
#include "ring_library.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layout.h"
#include "ring_private.h"

#define RESULT_LAST ((uint32_t)EDGE_RESULT_INSTANTIATE_FAILED)
#define ALL_SLOTS ((1ull << EDGE_WORKER_SLOTS) - 1u)
#define STATE_OF(generation, state) (((generation) << 8) | (uint32_t)(state))

static int32_t last_error;

void edge_ring_fail(int error) { last_error = error; }

int32_t edge_ring_errno(void) { return last_error; }

uint32_t edge_ring_layout_version(void) { return EDGE_LAYOUT_VERSION; }

static uint8_t *slot_start(struct edge_ring *ring, uint32_t slot) {
  return ring->map + edge_geometry_slot(&ring->geometry, slot);
}

static struct edge_slot *control_of(struct edge_ring *ring, uint32_t slot) {
  return (struct edge_slot *)(void *)slot_start(ring, slot);
}

static uint32_t load(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

static void store(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

void *edge_ring_slot(struct edge_ring *ring, uint32_t slot) {
  return slot < ring->geometry.slots ? slot_start(ring, slot) : NULL;
}

uint32_t edge_ring_slot_bytes(struct edge_ring *ring) { return ring->geometry.slot_bytes; }

uint32_t edge_ring_offset(struct edge_ring *ring, uint32_t part) {
  return part < EDGE_PARTS ? ring->geometry.offset[part] : 0;
}

void *edge_ring_taken(struct edge_ring *ring) { return ring->taken; }

static uint32_t first_of(uint32_t slot) { return slot - slot % EDGE_WORKER_SLOTS; }

static struct edge_board *board_of(struct edge_ring *ring, uint32_t slot) {
  return (struct edge_board *)(void *)(ring->map + edge_geometry_worker(&ring->geometry, slot));
}

static uint32_t *state_of(struct edge_ring *ring, uint32_t slot) {
  return &board_of(ring, slot)->state[slot % EDGE_WORKER_SLOTS];
}

static bool is_pending(enum edge_awaited awaited) {
  return awaited == EDGE_AWAIT_START || awaited == EDGE_AWAIT_ANSWER;
}

/* Notes what a slot is to do next, and keeps the worker busy as long as any of its slots has something. */
static void await(struct edge_ring *ring, uint32_t slot, enum edge_awaited awaited) {
  const uint32_t worker = slot / EDGE_WORKER_SLOTS;
  struct edge_slot_note *note = &ring->note[slot];
  ring->awaited[worker] =
      (uint8_t)(ring->awaited[worker] + is_pending(awaited) - is_pending(note->awaited));
  note->awaited = awaited;
  const uint64_t bit = 1ull << (worker % 64u);
  if (ring->awaited[worker] == 0) {
    ring->busy[worker / 64u] &= ~bit;
  } else {
    ring->busy[worker / 64u] |= bit;
  }
}

static bool is_busy(const struct edge_ring *ring, uint32_t slot) {
  return ring->awaited[slot / EDGE_WORKER_SLOTS] != 0;
}

static void notes_set(struct edge_ring *ring, uint32_t slot, uint32_t generation) {
  for (uint32_t i = slot; i < slot + EDGE_WORKER_SLOTS; i++) {
    await(ring, i, EDGE_AWAIT_NOTHING);
    ring->note[i] = (struct edge_slot_note){.generation = generation, .awaited = EDGE_AWAIT_NOTHING};
  }
}

void edge_ring_open_worker(struct edge_ring *ring, uint32_t slot, uint32_t generation) {
  struct edge_board *board = board_of(ring, slot);
  notes_set(ring, slot, generation);
  for (uint32_t i = 1; i < EDGE_WORKER_SLOTS; i++)
    store(&board->state[i], STATE_OF(generation, EDGE_SLOT_READY));
  store(&board->edge_sleeping, 1);
  store(&board->state[0], STATE_OF(generation, EDGE_SLOT_STARTING));
  await(ring, slot, EDGE_AWAIT_START);
}

static void futex_wake(uint32_t *word) { (void)syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0); }

int32_t edge_ring_post(struct edge_ring *ring, uint32_t slot, uint32_t generation, uint32_t method_len,
                       uint32_t path_len, uint32_t headers_len, uint32_t request_id_len, uint32_t body_len) {
  if (slot >= ring->geometry.slots) return -1;
  struct edge_slot *control = control_of(ring, slot);
  struct edge_slot_note *note = &ring->note[slot];
  const uint64_t head = (uint64_t)method_len + path_len + headers_len + request_id_len;
  if (head > ring->geometry.bytes[EDGE_PART_REQUEST_HEAD] ||
      body_len > ring->geometry.bytes[EDGE_PART_REQUEST_BODY]) {
    return -1;
  }
  if (note->generation != generation || note->awaited != EDGE_AWAIT_NOTHING) return -1;
  if (load(state_of(ring, slot)) != STATE_OF(generation, EDGE_SLOT_READY)) return -1;
  store(&control->method_len, method_len);
  store(&control->path_len, path_len);
  store(&control->headers_len, headers_len);
  store(&control->request_id_len, request_id_len);
  store(&control->body_len, body_len);
  store(&control->log_len, 0);
  store(&control->log_dropped, 0);
  struct edge_board *board = board_of(ring, slot);
  /* A worker that was idle may have cleared it after the edge took its last answer. */
  if (!is_busy(ring, slot)) store(&board->edge_sleeping, 1);
  await(ring, slot, EDGE_AWAIT_ANSWER);
  note->request_body_bytes = body_len;
  __atomic_store_n(state_of(ring, slot), STATE_OF(generation, EDGE_SLOT_REQUEST), __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&board->waiting, __ATOMIC_SEQ_CST) != 0) {
    store(&board->waiting, 0);
    futex_wake(&board->waiting);
  }
  return 0;
}

int32_t edge_ring_withdraw(struct edge_ring *ring, uint32_t slot, uint32_t generation) {
  if (slot >= ring->geometry.slots) return -1;
  struct edge_slot_note *note = &ring->note[slot];
  uint32_t expected = STATE_OF(generation, EDGE_SLOT_REQUEST);
  if (note->generation != generation || note->awaited != EDGE_AWAIT_ANSWER) return -1;
  if (!__atomic_compare_exchange_n(state_of(ring, slot), &expected, STATE_OF(generation, EDGE_SLOT_READY),
                                   false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    return -1;
  }
  edge_memory_trim(ring, slot, EDGE_PART_REQUEST_BODY, note->request_body_bytes);
  await(ring, slot, EDGE_AWAIT_NOTHING);
  return 0;
}

/* Whether the result of a record exists and its lengths fit the slot. */
static bool fits(const struct edge_geometry *geometry, const uint32_t *record) {
  return record[EDGE_TAKEN_RESULT] <= RESULT_LAST &&
         record[EDGE_TAKEN_RESPONSE_HEAD_BYTES] <= geometry->bytes[EDGE_PART_RESPONSE_HEAD] &&
         record[EDGE_TAKEN_RESPONSE_BODY_BYTES] <= geometry->bytes[EDGE_PART_RESPONSE_BODY] &&
         record[EDGE_TAKEN_LOG_BYTES] <= geometry->bytes[EDGE_PART_LOG];
}

/* Writes a record when the slot is in the state that the edge expects; takes each start and answer once. */
static bool take(struct edge_ring *ring, uint32_t slot, uint32_t *out) {
  struct edge_slot *control = control_of(ring, slot);
  struct edge_slot_note *note = &ring->note[slot];
  if (!is_pending(note->awaited)) return false;
  const uint32_t word = load(state_of(ring, slot));
  const uint32_t state = word & 0xffu;
  const bool started =
      note->awaited == EDGE_AWAIT_START && (state == EDGE_SLOT_READY || state == EDGE_SLOT_FAILED);
  const bool answered = note->awaited == EDGE_AWAIT_ANSWER && state == EDGE_SLOT_DONE;
  if (word >> 8 != note->generation || !(started || answered)) return false;
  out[EDGE_TAKEN_SLOT] = slot;
  out[EDGE_TAKEN_GENERATION] = note->generation;
  out[EDGE_TAKEN_STATE] = state;
  out[EDGE_TAKEN_RESULT] = load(&control->result);
  out[EDGE_TAKEN_DETAIL] = (uint32_t)__atomic_load_n(&control->detail, __ATOMIC_RELAXED);
  out[EDGE_TAKEN_STATUS] = load(&control->status);
  out[EDGE_TAKEN_RESPONSE_HEAD_BYTES] = load(&control->response_head_len);
  out[EDGE_TAKEN_RESPONSE_BODY_BYTES] = load(&control->response_body_len);
  out[EDGE_TAKEN_LOG_BYTES] = load(&control->log_len);
  out[EDGE_TAKEN_LOG_DROPPED] = load(&control->log_dropped);
  out[EDGE_TAKEN_CPU_US] = load(&control->cpu_us);
  const bool is_valid = fits(&ring->geometry, out);
  out[EDGE_TAKEN_IS_VALID] = is_valid;
  enum edge_awaited next = EDGE_AWAIT_NOTHING;
  if (state == EDGE_SLOT_FAILED) next = EDGE_AWAIT_REAP;
  if (answered) next = EDGE_AWAIT_RELEASE;
  await(ring, slot, next);
  /* Only an answer says how far its body reaches; a fault may have touched all of the response body. */
  note->response_body_bytes = is_valid && out[EDGE_TAKEN_RESULT] == EDGE_RESULT_ANSWER
                                  ? out[EDGE_TAKEN_RESPONSE_BODY_BYTES]
                                  : ring->geometry.bytes[EDGE_PART_RESPONSE_BODY];
  return true;
}

/*
 * Takes the finished slots of one worker, after `count` records that are there; returns how many are now. The
 * worker wakes the edge for what it finishes later.
 */
static uint32_t take_worker(struct edge_ring *ring, uint32_t first, uint32_t count, uint32_t max) {
  struct edge_board *board = board_of(ring, first);
  if (__atomic_load_n(&board->edge_sleeping, __ATOMIC_SEQ_CST) != 1)
    __atomic_store_n(&board->edge_sleeping, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&board->done, __ATOMIC_SEQ_CST) == 0) return count;
  uint32_t bits = __atomic_exchange_n(&board->done, 0, __ATOMIC_SEQ_CST) & ALL_SLOTS;
  for (; bits != 0 && count < max; bits &= bits - 1) {
    const uint32_t slot = first + (uint32_t)__builtin_ctz(bits);
    if (take(ring, slot, &ring->taken[count * EDGE_TAKEN_WORDS])) count++;
  }
  if (bits != 0) __atomic_fetch_or(&board->done, bits, __ATOMIC_SEQ_CST); /* the next call takes the rest */
  return count;
}

uint32_t edge_ring_drain(struct edge_ring *ring, uint32_t max) {
  const uint32_t words = (ring->geometry.slots / EDGE_WORKER_SLOTS + 63u) / 64u;
  uint32_t count = 0;
  if (max > EDGE_TAKEN_MAX) max = EDGE_TAKEN_MAX;
  for (uint32_t word = 0; word < words; word++) {
    for (uint64_t bits = ring->busy[word]; bits != 0 && count < max; bits &= bits - 1) {
      const uint32_t worker = word * 64u + (uint32_t)__builtin_ctzll(bits);
      count = take_worker(ring, worker * EDGE_WORKER_SLOTS, count, max);
    }
  }
  return count;
}

uint32_t edge_ring_look(struct edge_ring *ring, uint32_t slot, uint32_t generation) {
  if (slot >= ring->geometry.slots || ring->note[slot].generation != generation) return 0;
  return take(ring, slot, ring->taken) ? 1 : 0;
}

uint32_t edge_ring_logged(struct edge_ring *ring, uint32_t slot, uint32_t generation) {
  if (slot >= ring->geometry.slots) return 0;
  const struct edge_slot *control = control_of(ring, slot);
  const struct edge_slot_note *note = &ring->note[slot];
  if (note->generation != generation || note->awaited == EDGE_AWAIT_NOTHING) return 0;
  const uint32_t bytes = load(&control->log_len), room = ring->geometry.bytes[EDGE_PART_LOG];
  ring->taken[EDGE_TAKEN_LOG_BYTES] = bytes < room ? bytes : room;
  ring->taken[EDGE_TAKEN_LOG_DROPPED] = load(&control->log_dropped);
  return 1;
}

int32_t edge_ring_release(struct edge_ring *ring, uint32_t slot, uint32_t generation) {
  if (slot >= ring->geometry.slots) return -1;
  struct edge_slot_note *note = &ring->note[slot];
  if (note->generation != generation || note->awaited != EDGE_AWAIT_RELEASE) return -1;
  edge_memory_trim(ring, slot, EDGE_PART_REQUEST_BODY, note->request_body_bytes);
  edge_memory_trim(ring, slot, EDGE_PART_RESPONSE_BODY, note->response_body_bytes);
  await(ring, slot, EDGE_AWAIT_NOTHING);
  __atomic_store_n(state_of(ring, slot), STATE_OF(generation, EDGE_SLOT_READY), __ATOMIC_SEQ_CST);
  return 0;
}

void edge_ring_free(struct edge_ring *ring, uint32_t slot) {
  if (slot >= ring->geometry.slots || slot != first_of(slot)) return;
  edge_handles_take(ring);
  edge_handle_drop(&ring->worker[slot / EDGE_WORKER_SLOTS]);
  notes_set(ring, slot, 0);
  edge_memory_close(ring, slot);
}

uint32_t edge_ring_hints(struct edge_ring *ring, uint32_t slot) {
  if (slot >= ring->geometry.slots) return 0;
  const struct edge_board *board = board_of(ring, slot);
  const uint32_t phase = load(&board->phase) & EDGE_HINT_PHASE_MASK;
  return load(&board->served) != load(&board->recycled) ? phase | EDGE_HINT_RECYCLING : phase;
}
