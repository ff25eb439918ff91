/*
 * The functions of libedge_ring.so: the edge's side of the ring, which it calls through bun:ffi.
 *
 * One thread calls them, and none waits. What they work on is in ring.h.
 */
#ifndef EDGE_RING_LIBRARY_H
#define EDGE_RING_LIBRARY_H

#include "ring.h"

/* The EDGE_LAYOUT_VERSION that the library was built with; the edge compares it before it opens a ring. */
EDGE_API uint32_t edge_ring_layout_version(void);

struct edge_ring;

/*
 * Reserves the address space of a ring, which the caller owns until edge_ring_close; memory comes with each
 * fork. Sizes are rounded up to pages. NULL, with edge_ring_errno, for sizes that do not fit (geometry.h) or
 * when the system refuses.
 */
EDGE_API struct edge_ring *edge_ring_open(uint32_t slots, uint32_t request_head_bytes,
                                          uint32_t request_body_bytes, uint32_t response_head_bytes,
                                          uint32_t response_body_bytes, uint32_t log_bytes);
EDGE_API void edge_ring_close(struct edge_ring *ring);

/* The errno of the last open or command that failed. */
EDGE_API int32_t edge_ring_errno(void);

/*
 * Opens a fresh command socket and returns the end of the engine process, which the caller closes with
 * edge_fd_close once that process has inherited it; -1 on failure.
 */
EDGE_API int32_t edge_ring_command_open(struct edge_ring *ring);
EDGE_API void edge_ring_command_close(struct edge_ring *ring);

/*
 * Where a slot lies in this process, until edge_ring_close; NULL when the ring has no such slot. Without a
 * worker the slot reads as zeros and must not be written.
 */
EDGE_API void *edge_ring_slot(struct edge_ring *ring, uint32_t slot);
EDGE_API uint32_t edge_ring_slot_bytes(struct edge_ring *ring);

/* Where a part (enum edge_part) starts, counted from the start of its slot. */
EDGE_API uint32_t edge_ring_offset(struct edge_ring *ring, uint32_t part);

/*
 * Copies `bytes` bytes of `data` into a new memfd that is sealed against writes and changes of size. Returns
 * its descriptor, which the caller closes with edge_fd_close; -1 on failure.
 */
EDGE_API int32_t edge_code_open(const void *data, uint32_t bytes);
EDGE_API void edge_fd_close(int32_t fd);

/*
 * Each of the next four takes the handles that have come, returns at once, and never waits for the zygote.
 *
 * edge_ring_fork and edge_ring_compile return 0, or -1 when the zygote takes no packet now or an argument is
 * out of its bounds. edge_ring_kill and edge_ring_cancel return 0 once SIGKILL was sent to the child itself,
 * or, where it has no pidfd, once the zygote has the command; -1 when the child is not known yet or the
 * command did not fit: the caller repeats the call until it returns 0 or the child is reaped.
 *
 * edge_ring_fork makes the memory of the worker, copies its start block there, and sets its slots to
 * `generation`: the first to STARTING, the others to READY. It refuses a `slot` that is not the first of a
 * worker, and a start block that does not fit the request head. The caller keeps `code_fd`.
 */
EDGE_API int32_t edge_ring_fork(struct edge_ring *ring, uint32_t slot, uint32_t generation, int32_t code_fd,
                                const void *start, uint32_t start_bytes);
EDGE_API int32_t edge_ring_kill(struct edge_ring *ring, uint32_t slot, uint32_t generation);
EDGE_API int32_t edge_ring_compile(struct edge_ring *ring, uint32_t job, int32_t module_fd,
                                   uint32_t memory_bytes, uint32_t cpu_seconds, const void *path,
                                   uint32_t path_len);
EDGE_API int32_t edge_ring_cancel(struct edge_ring *ring, uint32_t job);

/* Asks the zygote for a PONG: 0, or -1 when it takes no packet now. */
EDGE_API int32_t edge_ring_ping(struct edge_ring *ring);

/* Processor time of a process in milliseconds, modulo 2^32 - 1; UINT32_MAX when there is no such process. */
EDGE_API uint32_t edge_process_cpu_ms(uint32_t pid);

/* Called after EDGE_EVENT_STARTED, so that handles do not pile up and stop the zygote. */
EDGE_API void edge_ring_adopt(struct edge_ring *ring);

/*
 * Sets a slot to REQUEST after the caller has written the request, and wakes the worker if it waits. 0, or -1
 * when the lengths do not fit the slot or the slot is not READY at `generation`.
 */
EDGE_API int32_t edge_ring_post(struct edge_ring *ring, uint32_t slot, uint32_t generation,
                                uint32_t method_len, uint32_t path_len, uint32_t headers_len,
                                uint32_t request_id_len, uint32_t body_len);

/*
 * Takes back a request that the worker has not begun and sets the slot READY: 0, or -1 when the request is
 * running or done, or when there is none.
 */
EDGE_API int32_t edge_ring_withdraw(struct edge_ring *ring, uint32_t slot, uint32_t generation);

/* The memory of edge_ring_taken holds this many records of this many words. */
#define EDGE_TAKEN_MAX 1024u
#define EDGE_TAKEN_WORDS 12u

/* The words of a record. */
enum edge_taken {
  EDGE_TAKEN_SLOT = 0,
  EDGE_TAKEN_GENERATION = 1,
  EDGE_TAKEN_STATE = 2, /* READY, DONE or FAILED */
  EDGE_TAKEN_RESULT = 3,
  EDGE_TAKEN_DETAIL = 4,
  EDGE_TAKEN_STATUS = 5,
  EDGE_TAKEN_RESPONSE_HEAD_BYTES = 6,
  EDGE_TAKEN_RESPONSE_BODY_BYTES = 7,
  EDGE_TAKEN_LOG_BYTES = 8,
  EDGE_TAKEN_LOG_DROPPED = 9,
  EDGE_TAKEN_CPU_US = 10,
  EDGE_TAKEN_IS_VALID = 11 /* 0: the worker wrote an unknown result or a length that does not fit */
};

/*
 * Takes finished slots, up to `max` and at most EDGE_TAKEN_MAX, and returns how many. For each it clears the
 * done bit, copies the result block once, checks it against the geometry, and writes one record to the memory
 * of edge_ring_taken. Each start and each answer is taken once, whatever the done bits say. A DONE slot stays
 * DONE until edge_ring_release. It looks only at workers of which the edge awaits something.
 *
 * From then on a worker that finishes wakes the edge. When it returns `max`, it may not have looked at every
 * worker, and the edge must call again.
 */
EDGE_API uint32_t edge_ring_drain(struct edge_ring *ring, uint32_t max);

/* The records; the ring owns them. */
EDGE_API void *edge_ring_taken(struct edge_ring *ring);

/* Takes one slot, whether or not its done bit is set: 1 and record 0 when it is finished, else 0. */
EDGE_API uint32_t edge_ring_look(struct edge_ring *ring, uint32_t slot, uint32_t generation);

/*
 * Reads how much the guest has logged of a request whose answer was not taken, or was not valid, or of a
 * start that has not succeeded: 1 and, in record 0, LOG_BYTES (at most the log area) and LOG_DROPPED; 0 when
 * the slot has neither. A worker that runs may go on writing.
 */
EDGE_API uint32_t edge_ring_logged(struct edge_ring *ring, uint32_t slot, uint32_t generation);

/*
 * Called after the answer was copied out: sets the slot READY and gives back the pages of large bodies. 0, or
 * -1 when the slot holds no taken answer of `generation`.
 */
EDGE_API int32_t edge_ring_release(struct edge_ring *ring, uint32_t slot, uint32_t generation);

/* Called after EDGE_EVENT_EXITED: gives back the memory of the worker, whose slots are FREE then. */
EDGE_API void edge_ring_free(struct edge_ring *ring, uint32_t slot);

/*
 * How many pages the worker that begins at `slot` has filled beyond what its requests may need: 0 for every
 * worker of ours. Its memory is not in RLIMIT_DATA.
 */
EDGE_API uint32_t edge_ring_excess_pages(struct edge_ring *ring, uint32_t slot);

/* Bits of edge_ring_hints: the phase of the worker, and whether it is making its instance pristine. */
enum edge_hint { EDGE_HINT_PHASE_MASK = 0xff, EDGE_HINT_RECYCLING = 0x100 };

/* What the worker of `slot` says of itself, of which nothing is to be trusted. */
EDGE_API uint32_t edge_ring_hints(struct edge_ring *ring, uint32_t slot);

/*
 * Makes every socket of this process that listens on the TCP port `port` refuse connections from here on;
 * those that are established stay. An unused socket takes the place of the descriptor, which the owner
 * closes. Returns how many there were, or -1 with edge_ring_errno.
 */
EDGE_API int32_t edge_listener_stop(uint32_t port);

#endif
