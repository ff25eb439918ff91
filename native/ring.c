/* The edge's side of the ring: makes its memory, posts requests, takes answers, gives pages back. */
#define _GNU_SOURCE
#include "ring.h"

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

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

/* Bytes of a body that stay resident after a request. The first slot of a worker is used most. */
#define BODY_KEEP_BYTES_FIRST 65536u
#define BODY_KEEP_BYTES_OTHER 16384u
#define RESULT_LAST ((uint32_t)EDGE_RESULT_INSTANTIATE_FAILED)
#define STATE_OF(generation, state) (((generation) << 8) | (uint32_t)(state))

static int32_t last_error;

void edge_ring_fail(int error) { last_error = error; }

int32_t edge_ring_errno(void) { return last_error; }

uint32_t edge_ring_layout_version(void) { return EDGE_LAYOUT_VERSION; }

static struct edge_ring_header *header_of(struct edge_ring *ring) {
  return (struct edge_ring_header *)(void *)ring->map;
}

static uint8_t *slot_start(struct edge_ring *ring, uint32_t slot) {
  return ring->map + edge_geometry_slot(&ring->geometry, slot);
}

static struct edge_slot *control_of(struct edge_ring *ring, uint32_t slot) {
  return (struct edge_slot *)(void *)slot_start(ring, slot);
}

static uint32_t load(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

static void store(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

static int memfd_make(const char *name, unsigned flags) {
  int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) fd = memfd_create(name, flags); /* kernels before 6.3 */
  return fd;
}

struct edge_ring *edge_ring_open(uint32_t slots, uint32_t request_head_bytes, uint32_t request_body_bytes,
                                 uint32_t response_head_bytes, uint32_t response_body_bytes,
                                 uint32_t log_bytes) {
  const uint32_t bytes[EDGE_PARTS] = {log_bytes, response_head_bytes, request_head_bytes, request_body_bytes,
                                      response_body_bytes};
  struct edge_ring *ring = calloc(1, sizeof *ring);
  if (ring == NULL) return edge_ring_fail(ENOMEM), NULL;
  ring->command_fd = -1;
  ring->memfd = -1;
  edge_handles_open(ring);
  ring->map = MAP_FAILED;
  if (!edge_geometry_fill(&ring->geometry, slots, bytes)) {
    edge_ring_fail(EINVAL);
    goto refuse;
  }
  const uint64_t total = edge_geometry_total(&ring->geometry);
  ring->memfd = memfd_make("edge-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (ring->memfd < 0 || ftruncate(ring->memfd, (off_t)total) != 0 ||
      fcntl(ring->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    edge_ring_fail(errno);
    goto refuse;
  }
  ring->map = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, ring->memfd, 0);
  if (ring->map == MAP_FAILED) {
    edge_ring_fail(errno);
    goto refuse;
  }
  (void)madvise(ring->map, total, MADV_DONTDUMP); /* refused, a core dump is only larger */
  return ring;
refuse:
  if (ring->memfd >= 0) close(ring->memfd);
  free(ring);
  return NULL;
}

void edge_ring_close(struct edge_ring *ring) {
  if (ring == NULL) return;
  if (ring->command_fd >= 0) close(ring->command_fd);
  edge_handles_close(ring);
  munmap(ring->map, edge_geometry_total(&ring->geometry));
  close(ring->memfd);
  free(ring);
}

int32_t edge_ring_memfd(struct edge_ring *ring) { return ring->memfd; }

void *edge_ring_slot(struct edge_ring *ring, uint32_t slot) {
  return slot < ring->geometry.slots ? slot_start(ring, slot) : NULL;
}

uint32_t edge_ring_slot_bytes(struct edge_ring *ring) { return ring->geometry.slot_bytes; }

uint32_t edge_ring_offset(struct edge_ring *ring, uint32_t part) {
  return part < EDGE_PARTS ? ring->geometry.offset[part] : 0;
}

void *edge_ring_taken(struct edge_ring *ring) { return ring->taken; }

int32_t edge_code_open(const void *data, uint32_t bytes) {
  const uint8_t *from = data;
  int fd = memfd_make("edge-code", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return edge_ring_fail(errno), -1;
  for (uint32_t done = 0; done < bytes;) {
    ssize_t written = write(fd, from + done, bytes - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) goto refuse;
    done += (uint32_t)written;
  }
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) return fd;
refuse:
  edge_ring_fail(errno);
  close(fd);
  return -1;
}

void edge_fd_close(int32_t fd) {
  if (fd >= 0) close(fd);
}

/*
 * Gives back the pages of a body beyond those that stay resident. If the kernel refuses, they only cost
 * memory: the worker serves one version for its whole life, and edge_ring_free clears its slots.
 */
static void trim(struct edge_ring *ring, uint32_t slot, unsigned part, uint32_t touched) {
  const uint32_t keep = slot % EDGE_WORKER_SLOTS == 0 ? BODY_KEEP_BYTES_FIRST : BODY_KEEP_BYTES_OTHER;
  if (touched <= keep) return;
  const uint32_t end = (touched + EDGE_PAGE - 1) / EDGE_PAGE * EDGE_PAGE;
  (void)madvise(slot_start(ring, slot) + ring->geometry.offset[part] + keep, end - keep, MADV_REMOVE);
}

static uint32_t first_of(uint32_t slot) { return slot - slot % EDGE_WORKER_SLOTS; }

static struct edge_board *board_of(struct edge_ring *ring, uint32_t slot) {
  return &control_of(ring, first_of(slot))->board;
}

static uint32_t *state_of(struct edge_ring *ring, uint32_t slot) {
  return &board_of(ring, slot)->state[slot % EDGE_WORKER_SLOTS];
}

void edge_ring_open_worker(struct edge_ring *ring, uint32_t slot, uint32_t generation,
                           enum edge_slot_state state, enum edge_awaited awaited) {
  memset(control_of(ring, slot), 0, sizeof(struct edge_slot));
  for (uint32_t i = 0; i < EDGE_WORKER_SLOTS; i++) {
    const enum edge_slot_state other = generation != 0 ? EDGE_SLOT_READY : EDGE_SLOT_FREE;
    ring->note[slot + i] =
        (struct edge_slot_note){.generation = generation, .awaited = i == 0 ? awaited : EDGE_AWAIT_NOTHING};
    store(state_of(ring, slot + i), STATE_OF(generation, i == 0 ? state : other));
  }
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
  note->awaited = EDGE_AWAIT_ANSWER;
  note->request_body_bytes = body_len;
  __atomic_store_n(state_of(ring, slot), STATE_OF(generation, EDGE_SLOT_REQUEST), __ATOMIC_SEQ_CST);
  struct edge_board *board = board_of(ring, slot);
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
  trim(ring, slot, EDGE_PART_REQUEST_BODY, note->request_body_bytes);
  note->awaited = EDGE_AWAIT_NOTHING;
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
  if (note->awaited != EDGE_AWAIT_START && note->awaited != EDGE_AWAIT_ANSWER) return false;
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
  note->awaited = answered ? EDGE_AWAIT_RELEASE : EDGE_AWAIT_NOTHING;
  /* Only an answer says how far its body reaches; a fault may have touched all of the response body. */
  note->response_body_bytes = is_valid && out[EDGE_TAKEN_RESULT] == EDGE_RESULT_ANSWER
                                  ? out[EDGE_TAKEN_RESPONSE_BODY_BYTES]
                                  : ring->geometry.bytes[EDGE_PART_RESPONSE_BODY];
  return true;
}

/* Takes the slots whose done bit is set, after `count` records that are there; returns how many are now. */
static uint32_t sweep(struct edge_ring *ring, uint32_t count, uint32_t max) {
  struct edge_ring_header *header = header_of(ring);
  for (uint32_t word = 0; word < (ring->geometry.slots + 31) / 32 && count < max; word++) {
    if (load(&header->done[word]) == 0) continue;
    uint32_t bits = __atomic_exchange_n(&header->done[word], 0, __ATOMIC_SEQ_CST);
    while (bits != 0) {
      const uint32_t bit = (uint32_t)__builtin_ctz(bits);
      const uint32_t slot = word * 32 + bit;
      if (count == max) { /* the next call takes the rest */
        __atomic_fetch_or(&header->done[word], bits, __ATOMIC_SEQ_CST);
        break;
      }
      bits &= bits - 1;
      if (slot < ring->geometry.slots && take(ring, slot, &ring->taken[count * EDGE_TAKEN_WORDS])) count++;
    }
  }
  return count;
}

uint32_t edge_ring_drain(struct edge_ring *ring, uint32_t max) {
  struct edge_ring_header *header = header_of(ring);
  if (max > EDGE_TAKEN_MAX) max = EDGE_TAKEN_MAX;
  __atomic_store_n(&header->edge_sleeping, 0, __ATOMIC_SEQ_CST);
  uint32_t count = sweep(ring, 0, max);
  if (count == max) return count;
  __atomic_store_n(&header->edge_sleeping, 1, __ATOMIC_SEQ_CST);
  return sweep(ring, count, max);
}

uint32_t edge_ring_look(struct edge_ring *ring, uint32_t slot, uint32_t generation) {
  if (slot >= ring->geometry.slots || ring->note[slot].generation != generation) return 0;
  return take(ring, slot, ring->taken) ? 1 : 0;
}

uint32_t edge_ring_logged(struct edge_ring *ring, uint32_t slot, uint32_t generation) {
  if (slot >= ring->geometry.slots) return 0;
  const struct edge_slot *control = control_of(ring, slot);
  const struct edge_slot_note *note = &ring->note[slot];
  const bool is_open = note->awaited == EDGE_AWAIT_ANSWER || note->awaited == EDGE_AWAIT_RELEASE;
  if (note->generation != generation || !is_open) return 0;
  const uint32_t bytes = load(&control->log_len), room = ring->geometry.bytes[EDGE_PART_LOG];
  ring->taken[EDGE_TAKEN_LOG_BYTES] = bytes < room ? bytes : room;
  ring->taken[EDGE_TAKEN_LOG_DROPPED] = load(&control->log_dropped);
  return 1;
}

int32_t edge_ring_release(struct edge_ring *ring, uint32_t slot, uint32_t generation) {
  if (slot >= ring->geometry.slots) return -1;
  struct edge_slot_note *note = &ring->note[slot];
  if (note->generation != generation || note->awaited != EDGE_AWAIT_RELEASE) return -1;
  trim(ring, slot, EDGE_PART_REQUEST_BODY, note->request_body_bytes);
  trim(ring, slot, EDGE_PART_RESPONSE_BODY, note->response_body_bytes);
  note->awaited = EDGE_AWAIT_NOTHING;
  __atomic_store_n(state_of(ring, slot), STATE_OF(generation, EDGE_SLOT_READY), __ATOMIC_SEQ_CST);
  return 0;
}

void edge_ring_free(struct edge_ring *ring, uint32_t slot) {
  if (slot >= ring->geometry.slots || slot != first_of(slot)) return;
  edge_handles_take(ring);
  edge_handle_drop(&ring->worker[slot / EDGE_WORKER_SLOTS]);
  uint8_t *start = slot_start(ring, slot);
  const uint64_t bytes = (uint64_t)ring->geometry.slot_bytes * EDGE_WORKER_SLOTS;
  if (madvise(start, bytes, MADV_REMOVE) != 0) memset(start, 0, bytes);
  for (uint32_t i = slot; i < slot + EDGE_WORKER_SLOTS; i++)
    ring->note[i] = (struct edge_slot_note){0};
}

uint32_t edge_ring_hints(struct edge_ring *ring, uint32_t slot) {
  if (slot >= ring->geometry.slots) return 0;
  const struct edge_board *board = board_of(ring, slot);
  const uint32_t phase = load(&board->phase) & EDGE_HINT_PHASE_MASK;
  return load(&board->served) != load(&board->recycled) ? phase | EDGE_HINT_RECYCLING : phase;
}
