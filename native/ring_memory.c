/* The memory of a ring: address space for every worker, a memfd for each one that runs, sealed code. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layout.h"
#include "ring_private.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

/* Bytes of a body that stay resident after a request. The first slot of a worker is used most. */
#define BODY_KEEP_BYTES_FIRST 65536u
#define BODY_KEEP_BYTES_OTHER 16384u
/* The unit of st_blocks. Source: stat(2). */
#define BLOCK_BYTES 512u

static int memfd_make(const char *name) {
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) fd = memfd_create(name, flags); /* kernels before 6.3 */
  return fd;
}

static bool is_sealed(int fd, int seals) { return fcntl(fd, F_ADD_SEALS, seals | F_SEAL_SEAL) == 0; }

struct edge_ring *edge_ring_open(uint32_t slots, uint32_t request_head_bytes, uint32_t request_body_bytes,
                                 uint32_t response_head_bytes, uint32_t response_body_bytes,
                                 uint32_t log_bytes) {
  const uint32_t bytes[EDGE_PARTS] = {log_bytes, response_head_bytes, request_head_bytes, request_body_bytes,
                                      response_body_bytes};
  struct edge_ring *ring = calloc(1, sizeof *ring);
  if (ring == NULL) return edge_ring_fail(ENOMEM), NULL;
  ring->command_fd = -1;
  edge_handles_open(ring);
  for (uint32_t i = 0; i < EDGE_WORKERS_MAX; i++)
    ring->memory[i] = EDGE_HANDLE_UNKNOWN;
  if (!edge_geometry_fill(&ring->geometry, slots, bytes)) {
    edge_ring_fail(EINVAL);
    goto refuse;
  }
  /* Read-only, so that a system that counts what processes may write does not count it. */
  void *at = mmap(NULL, edge_geometry_total(&ring->geometry), PROT_READ,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) {
    edge_ring_fail(errno);
    goto refuse;
  }
  ring->map = at;
  return ring;
refuse:
  free(ring);
  return NULL;
}

void edge_ring_close(struct edge_ring *ring) {
  if (ring == NULL) return;
  if (ring->command_fd >= 0) close(ring->command_fd);
  edge_handles_close(ring);
  for (uint32_t i = 0; i < EDGE_WORKERS_MAX; i++)
    edge_handle_drop(&ring->memory[i]);
  munmap(ring->map, edge_geometry_total(&ring->geometry));
  free(ring);
}

int edge_memory_open(struct edge_ring *ring, uint32_t slot) {
  const uint64_t bytes = edge_geometry_worker_bytes(&ring->geometry);
  uint8_t *place = ring->map + edge_geometry_worker(&ring->geometry, slot);
  const int fd = memfd_make("edge-worker");
  if (fd < 0) return edge_ring_fail(errno), -1;
  if (ftruncate(fd, (off_t)bytes) != 0 || !is_sealed(fd, F_SEAL_SHRINK | F_SEAL_GROW) ||
      mmap(place, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) != place) {
    edge_ring_fail(errno);
    close(fd);
    return -1;
  }
  (void)madvise(place, bytes, MADV_DONTDUMP);    /* refused, a core dump is only larger */
  (void)madvise(place, bytes, MADV_NOHUGEPAGE);  /* refused where there are none */
  ring->memory[slot / EDGE_WORKER_SLOTS] = fd;
  return fd;
}

void edge_memory_close(struct edge_ring *ring, uint32_t slot) {
  const uint64_t bytes = edge_geometry_worker_bytes(&ring->geometry);
  uint8_t *place = ring->map + edge_geometry_worker(&ring->geometry, slot);
  edge_handle_drop(&ring->memory[slot / EDGE_WORKER_SLOTS]);
  /* If the kernel refuses, the memory lasts until the next fork for this place: nobody else has it. */
  (void)mmap(place, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
}

void edge_memory_trim(struct edge_ring *ring, uint32_t slot, enum edge_part part, uint32_t touched) {
  const uint32_t keep = slot % EDGE_WORKER_SLOTS == 0 ? BODY_KEEP_BYTES_FIRST : BODY_KEEP_BYTES_OTHER;
  if (touched <= keep) return;
  const uint32_t end = (touched + EDGE_PAGE - 1) / EDGE_PAGE * EDGE_PAGE;
  uint8_t *start = ring->map + edge_geometry_slot(&ring->geometry, slot);
  /* If the kernel refuses, the pages only cost memory: the worker serves one version for its whole life. */
  (void)madvise(start + ring->geometry.offset[part] + keep, end - keep, MADV_REMOVE);
}

/* The pages that a slot without a request may have, in bytes: all but its bodies, and what those keep. */
static uint64_t kept_bytes(const struct edge_geometry *geometry, uint32_t slot) {
  const uint32_t keep = slot % EDGE_WORKER_SLOTS == 0 ? BODY_KEEP_BYTES_FIRST : BODY_KEEP_BYTES_OTHER;
  return geometry->offset[EDGE_PART_REQUEST_BODY] + 2ull * keep;
}

uint32_t edge_ring_excess_pages(struct edge_ring *ring, uint32_t slot) {
  struct stat facts;
  if (slot >= ring->geometry.slots || slot % EDGE_WORKER_SLOTS != 0) return 0;
  const int fd = ring->memory[slot / EDGE_WORKER_SLOTS];
  if (fd < 0 || fstat(fd, &facts) != 0) return 0;
  uint64_t allowed = EDGE_PAGE;
  for (uint32_t i = slot; i < slot + EDGE_WORKER_SLOTS; i++) {
    const uint32_t awaited = ring->note[i].awaited;
    const bool has_request = awaited == EDGE_AWAIT_ANSWER || awaited == EDGE_AWAIT_RELEASE;
    allowed += has_request ? ring->geometry.slot_bytes : kept_bytes(&ring->geometry, i);
  }
  const uint64_t held = (uint64_t)facts.st_blocks * BLOCK_BYTES;
  return held > allowed ? (uint32_t)((held - allowed) / EDGE_PAGE) : 0;
}

int32_t edge_code_open(const void *data, uint32_t bytes) {
  const uint8_t *from = data;
  const int fd = memfd_make("edge-code");
  if (fd < 0) return edge_ring_fail(errno), -1;
  for (uint32_t done = 0; done < bytes;) {
    ssize_t written = write(fd, from + done, bytes - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) goto refuse;
    done += (uint32_t)written;
  }
  if (is_sealed(fd, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)) return fd;
refuse:
  edge_ring_fail(errno);
  close(fd);
  return -1;
}

void edge_fd_close(int32_t fd) {
  if (fd >= 0) close(fd);
}
