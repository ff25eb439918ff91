/*
 * The ring: the shared memory through which an edge and its workers exchange requests and answers, and the
 * packets and events between the edge and its zygote. This header is the contract of both sides.
 *
 * One memfd holds a header page and `slots` slots of equal size; pages that nobody touched cost nothing, so a
 * slot is as large as the largest request and response and bodies need no chunking. A slot holds one request
 * and its answer. A worker has EDGE_WORKER_SLOTS slots in a row and is named by the first of them, which also
 * holds its board; it maps the header page and its own slots only, and serves one request at a time.
 * Everything that a worker writes is hostile: the edge reads a length or state once, copies it, and uses the
 * copy after checking it.
 *
 *   header page | slot 0 | slot 1 | ...
 *   slot: control page | log | response head | request head | request body | response body
 *
 * Each part of a slot is page-aligned.
 *
 * Sizes are bytes, counts are counts; all integers are little-endian and naturally aligned.
 */
#ifndef EDGE_RING_H
#define EDGE_RING_H

#include <stdint.h>

#define EDGE_API __attribute__((visibility("default")))

/* Of everything in this header up to the functions: layout.h holds it. */
#define EDGE_LAYOUT_VERSION 1u

#define EDGE_WORKERS_MAX 1024u
#define EDGE_WORKER_SLOTS 8u
#define EDGE_SLOTS_MAX (EDGE_WORKERS_MAX * EDGE_WORKER_SLOTS)
#define EDGE_PAGE 4096u

/* Parts of a slot behind its control page, in the order of their addresses. */
enum edge_part {
  EDGE_PART_LOG = 0,
  EDGE_PART_RESPONSE_HEAD = 1,
  EDGE_PART_REQUEST_HEAD = 2,
  EDGE_PART_REQUEST_BODY = 3,
  EDGE_PART_RESPONSE_BODY = 4
};
#define EDGE_PARTS 5u

/* The state of a slot is a word: (generation << 8) | one of these; generations start at 1. */
#define EDGE_GENERATION_MAX 0xffffffu
enum edge_slot_state {
  EDGE_SLOT_FREE = 0,     /* no worker */
  EDGE_SLOT_STARTING = 1, /* edge: start block written, fork asked for */
  EDGE_SLOT_READY = 2,    /* worker after its start; edge after it took an answer, or a request back */
  EDGE_SLOT_REQUEST = 3,  /* edge: a request is in the slot */
  EDGE_SLOT_DONE = 4,     /* worker: the result block is written */
  EDGE_SLOT_FAILED = 5,   /* worker: the start failed, the result block says why; the worker exits */
  EDGE_SLOT_RUNNING = 6   /* worker: it serves the request, which can no longer be taken back */
};

/* What ended a request or a start. Everything but EDGE_RESULT_ANSWER is a fault of the guest. */
enum edge_result {
  EDGE_RESULT_ANSWER = 0,
  EDGE_RESULT_TRAP_UNREACHABLE = 1,
  EDGE_RESULT_TRAP_OUT_OF_BOUNDS = 2,
  EDGE_RESULT_TRAP_ARITHMETIC = 3,
  EDGE_RESULT_TRAP_INDIRECT_CALL = 4,
  EDGE_RESULT_TRAP_OTHER = 5,  /* detail: WasmEdge error code */
  EDGE_RESULT_GUEST_ERROR = 6, /* detail: the negative number that the guest returned */
  EDGE_RESULT_BAD_POINTER = 7,
  EDGE_RESULT_RESPONSE_LENGTH = 8, /* detail: the length that the guest returned */
  EDGE_RESULT_RESPONSE_TOO_LARGE = 9,
  EDGE_RESULT_INVALID_RESPONSE = 10, /* bad status, header name or value */
  EDGE_RESULT_HOST_CALL_LIMIT = 11,
  EDGE_RESULT_WASI_DENIED = 12,
  EDGE_RESULT_EXITED = 13,            /* detail: the code given to proc_exit */
  EDGE_RESULT_MEMORY_EXHAUSTED = 14,  /* no room for the request in the guest's memory */
  EDGE_RESULT_LOAD_FAILED = 15,       /* start only; detail: WasmEdge error code */
  EDGE_RESULT_INSTANTIATE_FAILED = 16 /* start only; detail: WasmEdge error code */
};

/* What a worker says it is doing; a hint that only chooses between error codes when it has died. */
enum edge_phase { EDGE_PHASE_HOST = 0, EDGE_PHASE_GUEST = 1 };

/* The header page. Hints only: the edge looks at the slots before it believes any of it. */
struct edge_ring_header {
  uint32_t edge_sleeping; /* 1: a worker that finishes clears it and sends one byte on the wake socket */
  uint32_t done[EDGE_SLOTS_MAX / 32u]; /* bit per slot: DONE, READY after a start, or FAILED */
};

/*
 * What a worker and the edge tell each other, in the control page of the worker's first slot. A worker that
 * finds no request sets `waiting`, looks once more, and waits on it; the edge clears it after it has posted,
 * and wakes.
 */
struct edge_board {
  uint32_t waiting; /* futex word */
  uint32_t state[EDGE_WORKER_SLOTS];
  /* worker to edge: hints */
  uint32_t phase;
  uint32_t served; /* requests finished */
  /* Requests after which the instance was made pristine; lags `served` only while that runs. */
  uint32_t recycled;
};

/* The control page of a slot. */
struct edge_slot {
  struct edge_board board; /* in the first slot of a worker; unused in the others */
  /* edge to worker */
  uint32_t method_len, path_len, headers_len, request_id_len; /* in the request head, in this order, packed */
  uint32_t body_len;
  /* worker to edge: the result block */
  uint32_t result;
  int32_t detail;
  uint32_t status;
  uint32_t response_head_len; /* `name: value\r\n` lines */
  uint32_t response_body_len;
  uint32_t log_len;     /* records: u32 level, u32 length, bytes padded to 4 */
  uint32_t log_dropped; /* lines beyond the limits */
  uint32_t cpu_us;      /* CPU time of this request, and of making the instance pristine before it */
};

/* Levels of a log record. */
enum edge_log_level {
  EDGE_LOG_TRACE = 0,
  EDGE_LOG_DEBUG = 1,
  EDGE_LOG_INFO = 2,
  EDGE_LOG_WARN = 3,
  EDGE_LOG_ERROR = 4
};

/* Whether each request gets a pristine instance, or an instance serves up to `max_reuse` requests. */
enum edge_isolation { EDGE_ISOLATION_CLEAN = 0, EDGE_ISOLATION_REUSE = 1 };

/* The export of the guest that gives it memory for requests and responses; none: the memory is grown. */
enum edge_allocator {
  EDGE_ALLOCATOR_NONE = 0,
  EDGE_ALLOCATOR_ALLOC = 1,
  EDGE_ALLOCATOR_MALLOC = 2,
  EDGE_ALLOCATOR_CABI_REALLOC = 3,
  EDGE_ALLOCATOR_NEW = 4
};

/*
 * The start block, in the request head of the first slot while that is STARTING: this, then entrypoint, then
 * env (NAME=VALUE\0...).
 */
struct edge_start {
  uint32_t memory_pages;
  uint32_t isolation;        /* enum edge_isolation */
  uint32_t max_reuse;        /* requests per instance in reuse */
  uint32_t allocator;        /* enum edge_allocator */
  uint32_t memory_pages_min; /* declared initial pages, compared after instantiation */
  uint32_t response_cap;     /* bytes of the guest's response buffer */
  uint32_t host_calls_max;
  uint32_t log_lines_max;
  uint32_t stack_bytes;
  uint32_t data_overhead_bytes; /* RLIMIT_DATA above VmData at start and memory_pages */
  uint32_t entrypoint_len;
  uint32_t env_len;
};

/*
 * Packets from edge to zygote: SOCK_SEQPACKET, each one struct; FORK and COMPILE carry one descriptor
 * (SCM_RIGHTS). Here and in events, `slot` is the first of a worker.
 */
enum edge_command_kind {
  EDGE_COMMAND_FORK = 1,    /* descriptor: sealed memfd with the code */
  EDGE_COMMAND_KILL = 2,    /* SIGKILL to the worker of slot and generation, if it is still that worker */
  EDGE_COMMAND_COMPILE = 3, /* descriptor: sealed memfd with the module; result at `path` */
  EDGE_COMMAND_CANCEL = 4   /* SIGKILL to the compile child of `job` */
};

#define EDGE_PATH_MAX 1024u

struct edge_command {
  uint32_t kind;
  uint32_t slot; /* COMPILE, CANCEL: job */
  uint32_t generation;
  uint32_t memory_bytes; /* COMPILE: RLIMIT_DATA above the start */
  uint32_t cpu_seconds;  /* COMPILE: RLIMIT_CPU */
  uint32_t path_len;     /* COMPILE: output path, absolute, without NUL */
  char path[EDGE_PATH_MAX];
};

/* The first byte of each stream that the zygote opens to the edge. */
enum edge_preface { EDGE_PREFACE_EVENTS = 0x45, EDGE_PREFACE_WAKES = 0x57 };

/* Events from zygote to edge: 32 bytes each, after the preface. */
enum edge_event_kind {
  EDGE_EVENT_OPEN = 1,    /* pid: the zygote; value: its threads at entry (must be 1) */
  EDGE_EVENT_STARTED = 2, /* slot, generation, pid */
  EDGE_EVENT_EXITED = 3,  /* slot, generation, pid, how, value: reaped; its slots may be used again */
  EDGE_EVENT_COMPILED = 4 /* slot: job; how, value; how 0 and value 0: the file at `path` is complete */
};

/* How a child ended, and what `value` is: an exit code, a signal, or the errno of the fork that failed. */
enum edge_how { EDGE_HOW_EXITED = 0, EDGE_HOW_SIGNALLED = 1, EDGE_HOW_NOT_FORKED = 2 };

struct edge_event {
  uint32_t kind, slot, generation, pid;
  uint32_t how; /* enum edge_how */
  uint32_t value;
  uint32_t max_rss_kb;
  uint32_t cpu_ms;
};

/* Exit codes of a worker. */
enum edge_exit {
  EDGE_EXIT_CLOSED = 0,
  EDGE_EXIT_START_FAILED = 40,
  EDGE_EXIT_SANDBOX_FAILED = 41,
  EDGE_EXIT_PROTOCOL = 42
};
/* Exit codes of a compile child. */
enum edge_compile_exit {
  EDGE_COMPILE_DONE = 0,
  EDGE_COMPILE_REFUSED = 50,
  EDGE_COMPILE_IO = 51,
  EDGE_COMPILE_SANDBOX = 52
};

/* On the wake stream every byte after the preface asks the edge to drain; its value means nothing. */

/* ---- The edge's side (libedge_ring.so), called through bun:ffi from one thread. ---- */

/* EDGE_LAYOUT_VERSION as this library was built with it; the edge compares it before it opens a ring. */
EDGE_API uint32_t edge_ring_layout_version(void);

struct edge_ring; /* owned by the edge from open to close */

/* NULL on failure (edge_ring_errno). request_head_bytes etc. are rounded up to pages. */
EDGE_API struct edge_ring *edge_ring_open(uint32_t slots, uint32_t request_head_bytes,
                                          uint32_t request_body_bytes, uint32_t response_head_bytes,
                                          uint32_t response_body_bytes, uint32_t log_bytes);
EDGE_API void edge_ring_close(struct edge_ring *ring);
EDGE_API int32_t edge_ring_errno(void);

/* Descriptor of the memfd, for the child's stdio; the ring keeps it open. */
EDGE_API int32_t edge_ring_memfd(struct edge_ring *ring);

/*
 * Opens a fresh command socket and returns the child's end, to be closed with edge_fd_close after the spawn;
 * -1 on failure.
 */
EDGE_API int32_t edge_ring_command_open(struct edge_ring *ring);
EDGE_API void edge_ring_command_close(struct edge_ring *ring);

/* Start of a slot in this process, and its size; valid until close. */
EDGE_API void *edge_ring_slot(struct edge_ring *ring, uint32_t slot);
EDGE_API uint32_t edge_ring_slot_bytes(struct edge_ring *ring);
/* Where a part (enum edge_part) starts in a slot. */
EDGE_API uint32_t edge_ring_offset(struct edge_ring *ring, uint32_t part);

/*
 * Copies `bytes` of `data` into a new sealed memfd (no write, no shrink, no grow); the descriptor belongs to
 * the caller.
 */
EDGE_API int32_t edge_code_open(const void *data, uint32_t bytes);
EDGE_API void edge_fd_close(int32_t fd);

/*
 * Sets the first slot of a worker to STARTING and the others to READY, at `generation`, and asks the zygote
 * to fork; 0, or -1 when `slot` is not a first one or the zygote takes no packet.
 */
EDGE_API int32_t edge_ring_fork(struct edge_ring *ring, uint32_t slot, uint32_t generation, int32_t code_fd);
EDGE_API int32_t edge_ring_kill(struct edge_ring *ring, uint32_t slot, uint32_t generation);
EDGE_API int32_t edge_ring_compile(struct edge_ring *ring, uint32_t job, int32_t module_fd,
                                   uint32_t memory_bytes, uint32_t cpu_seconds, const void *path,
                                   uint32_t path_len);
EDGE_API int32_t edge_ring_cancel(struct edge_ring *ring, uint32_t job);

/*
 * Publishes the request that lies in the slot and wakes the worker where it waits: 0, or -1 when the slot is
 * not READY at `generation`.
 */
EDGE_API int32_t edge_ring_post(struct edge_ring *ring, uint32_t slot, uint32_t generation,
                                uint32_t method_len, uint32_t path_len, uint32_t headers_len,
                                uint32_t request_id_len, uint32_t body_len);

/*
 * Takes back a request that the worker has not begun: 0 and the slot is READY, or -1 when it is running, done
 * or not there.
 */
EDGE_API int32_t edge_ring_withdraw(struct edge_ring *ring, uint32_t slot, uint32_t generation);

#define EDGE_TAKEN_MAX 1024u
#define EDGE_TAKEN_WORDS 12u

/* Words of a record in the memory of edge_ring_taken. */
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
  EDGE_TAKEN_IS_VALID = 11 /* 0: the worker gave a length or a result that cannot be */
};

/*
 * Takes finished slots, up to `max` and at most EDGE_TAKEN_MAX, and returns how many. For each it clears the
 * done bit, copies the result block once, checks it against the geometry, and writes one record to the memory
 * of edge_ring_taken. Each start and each answer is taken once, whatever the done bits say. A DONE slot stays
 * DONE until edge_ring_release.
 *
 * When no finished slot is left, it marks the edge as sleeping and sweeps once more; when it returns `max` it
 * has not done so, and the edge must call again.
 */
EDGE_API uint32_t edge_ring_drain(struct edge_ring *ring, uint32_t max);
/* EDGE_TAKEN_MAX * EDGE_TAKEN_WORDS words, owned by the ring. */
EDGE_API void *edge_ring_taken(struct edge_ring *ring);
/* The same look at one slot without its done bit: 1 and one record at index 0 when it is finished, else 0. */
EDGE_API uint32_t edge_ring_look(struct edge_ring *ring, uint32_t slot, uint32_t generation);

/*
 * After the answer was copied out: gives back pages of large bodies and sets the slot READY; -1 at a wrong
 * generation.
 */
EDGE_API int32_t edge_ring_release(struct edge_ring *ring, uint32_t slot, uint32_t generation);
/* After EXITED: gives back all pages of a worker's slots and sets them FREE. */
EDGE_API void edge_ring_free(struct edge_ring *ring, uint32_t slot);

/* Bits of edge_ring_hints: the phase of the worker, and whether it is making its instance pristine. */
enum edge_hint { EDGE_HINT_PHASE_MASK = 0xff, EDGE_HINT_RECYCLING = 0x100 };

EDGE_API uint32_t edge_ring_hints(struct edge_ring *ring, uint32_t slot);

#endif
