/*
 * The contract between an edge, its zygote and its workers: shared memory, command packets and events.
 *
 * Memory. Each worker has a memfd of its own, made for its fork and gone with it:
 *
 *   memory of a worker: board page | slot 0 | slot 1 | ... (EDGE_WORKER_SLOTS)
 *   slot: control page | log | response head | request head | request body | response body
 *
 * Every part starts at a page. Untouched pages cost nothing, so a slot is as large as the largest request and
 * response, and no body is cut into chunks. The edge maps the memory of all workers in the order of their
 * slots; a worker and the zygote get no descriptor of another's.
 *
 * Owners. A slot holds one request and its answer. Slots are numbered through all workers; the first slot of
 * a worker names it. A worker serves one request at a time.
 *
 * Trust. Everything that a worker writes is hostile: the edge reads a length or a state once, checks its
 * copy, and uses the copy.
 *
 * Sizes are in bytes; all integers are little-endian and naturally aligned.
 */
#ifndef EDGE_RING_H
#define EDGE_RING_H

#include <stdint.h>

#define EDGE_API __attribute__((visibility("default")))

/* The version of everything in this header above the functions; layout.h asserts the layout. */
#define EDGE_LAYOUT_VERSION 4u

#define EDGE_WORKERS_MAX 1024u
#define EDGE_WORKER_SLOTS 8u
#define EDGE_SLOTS_MAX (EDGE_WORKERS_MAX * EDGE_WORKER_SLOTS)
#define EDGE_PAGE 4096u

/* The parts of a slot that follow its control page, in the order of their addresses. */
enum edge_part {
  EDGE_PART_LOG = 0,
  EDGE_PART_RESPONSE_HEAD = 1,
  EDGE_PART_REQUEST_HEAD = 2,
  EDGE_PART_REQUEST_BODY = 3,
  EDGE_PART_RESPONSE_BODY = 4
};
#define EDGE_PARTS 5u

/* A generation numbers the workers that had a slot one after the other, from 1 to this, then from 1 again. */
#define EDGE_GENERATION_MAX 0xffffffu

/* The state of a slot is the word (generation << 8) | one of these. Each comment begins with who sets it. */
enum edge_slot_state {
  EDGE_SLOT_FREE = 0,     /* edge: the slot has no worker */
  EDGE_SLOT_STARTING = 1, /* edge: it wrote the start block and asked for a fork */
  EDGE_SLOT_READY = 2,    /* worker after its start; edge after it released an answer or withdrew a request */
  EDGE_SLOT_REQUEST = 3,  /* edge: a request is in the slot */
  EDGE_SLOT_DONE = 4,     /* worker: the answer and its result block are written */
  EDGE_SLOT_FAILED = 5,   /* worker: the start failed, the result block says why, and it exits */
  EDGE_SLOT_RUNNING = 6   /* worker: it serves the request, so the edge can no longer withdraw it */
};

/* What ended a request or a start; `detail` is a second number. All but ANSWER are faults of the guest. */
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
  EDGE_RESULT_INVALID_RESPONSE = 10, /* detail: enum edge_refusal; subject: the name of the header */
  EDGE_RESULT_HOST_CALL_LIMIT = 11,
  EDGE_RESULT_WASI_DENIED = 12,       /* subject: the name of the WASI function */
  EDGE_RESULT_EXITED = 13,            /* detail: the code that the guest gave to proc_exit */
  EDGE_RESULT_MEMORY_EXHAUSTED = 14,  /* the guest's memory has no room for the request */
  EDGE_RESULT_LOAD_FAILED = 15,       /* start only; detail: WasmEdge error code */
  EDGE_RESULT_INSTANTIATE_FAILED = 16 /* start only; detail: WasmEdge error code */
};

/* What a guest gave that an answer may not have; the first of them counts. */
enum edge_refusal {
  EDGE_REFUSAL_NONE = 0,
  EDGE_REFUSAL_STATUS = 1, /* the status word of the slot holds it */
  EDGE_REFUSAL_HEADER = 2, /* its name or its value */
  EDGE_REFUSAL_ROOM = 3,   /* the header does not fit into the response head */
  EDGE_REFUSAL_LENGTH = 4  /* a negative length */
};

/* The longest subject of a fault: what the fault is about, as text. A longer one is cut. */
#define EDGE_SUBJECT_BYTES 256u

/* Where a worker says that it runs: a hint, which only chooses between two error codes when it dies. */
enum edge_phase { EDGE_PHASE_HOST = 0, EDGE_PHASE_GUEST = 1 };

/*
 * The words that a worker shares with the edge, at the start of its memory.
 *
 * A worker that has finished a slot sets its bit in `done`; if `edge_sleeping` is set, it clears that and
 * sends a wake-up. The edge sets `edge_sleeping`, then reads `done`. So neither can miss the
 * other. The edge believes a bit only when the state of the slot confirms it.
 *
 * A worker that finds no request sets `waiting`, checks its slots once more, and waits on the word. The edge
 * first sets a slot to REQUEST; then, if `waiting` is set, it clears it and wakes the worker. So neither can
 * miss the other.
 */
struct edge_board {
  uint32_t edge_sleeping;
  uint32_t done;    /* a bit for each slot: DONE, READY after a start, or FAILED */
  uint32_t waiting; /* futex word */
  uint32_t state[EDGE_WORKER_SLOTS];
  /* Hints that the worker writes for the edge. */
  uint32_t phase;    /* enum edge_phase */
  uint32_t served;   /* requests that it has answered */
  uint32_t recycled; /* set to `served` once the instance is pristine again */
};

/* The control page of a slot. */
struct edge_slot {
  /* The edge writes the lengths of the request; its head holds the first four texts, packed in this order. */
  uint32_t method_len, path_len, headers_len, request_id_len;
  uint32_t body_len;
  /* The worker writes the result block. */
  uint32_t result;
  int32_t detail;
  uint32_t status;
  uint32_t response_head_len; /* an answer: `name: value\r\n` lines; a fault: its subject */
  uint32_t response_body_len;
  /* The edge sets both to 0 with a request; the worker raises them while it runs. */
  uint32_t log_len;     /* records: u32 level, u32 length, then the bytes padded to a multiple of 4 */
  uint32_t log_dropped; /* lines that did not fit the limits */
  uint32_t cpu_us;      /* CPU time of the request, and of making the instance pristine before it */
};

/* Levels of a log record. */
enum edge_log_level {
  EDGE_LOG_TRACE = 0,
  EDGE_LOG_DEBUG = 1,
  EDGE_LOG_INFO = 2,
  EDGE_LOG_WARN = 3,
  EDGE_LOG_ERROR = 4
};

/* CLEAN: each request gets a pristine instance. REUSE: an instance serves up to `max_reuse` requests. */
enum edge_isolation { EDGE_ISOLATION_CLEAN = 0, EDGE_ISOLATION_REUSE = 1 };

/* The guest's export that allocates room for requests and responses; NONE: the worker grows the memory. */
enum edge_allocator {
  EDGE_ALLOCATOR_NONE = 0,
  EDGE_ALLOCATOR_ALLOC = 1,
  EDGE_ALLOCATOR_MALLOC = 2,
  EDGE_ALLOCATOR_CABI_REALLOC = 3,
  EDGE_ALLOCATOR_NEW = 4
};

/*
 * The start block of a worker, in the request head of its first slot while that is STARTING: this structure,
 * the name of the entrypoint, then the environment (NAME=VALUE\0...).
 */
struct edge_start {
  uint32_t memory_pages;
  uint32_t isolation;        /* enum edge_isolation */
  uint32_t max_reuse;        /* requests per instance in REUSE */
  uint32_t allocator;        /* enum edge_allocator */
  uint32_t memory_pages_min; /* the initial pages that the module declares; an instance must have them */
  uint32_t response_cap;     /* bytes of the guest's response buffer */
  uint32_t host_calls_max;
  uint32_t log_lines_max;
  uint32_t stack_bytes;
  uint32_t data_overhead_bytes; /* RLIMIT_DATA beyond `memory_pages` and what the process has at its start */
  uint32_t entrypoint_len;
  uint32_t env_len;
};

/*
 * Commands from the edge to the zygote: packets of a SOCK_SEQPACKET socket, each one struct edge_command.
 * FORK carries two descriptors and COMPILE one (SCM_RIGHTS). In commands and events `slot` is the first of a
 * worker.
 */
enum edge_command_kind {
  EDGE_COMMAND_FORK = 1,    /* forks a worker; descriptors: its sealed code, then its memory */
  EDGE_COMMAND_KILL = 2,    /* SIGKILL to the worker of this slot and generation, where no pidfd came */
  EDGE_COMMAND_COMPILE = 3, /* compiles into the file `path`; descriptor: sealed memfd with the module */
  EDGE_COMMAND_CANCEL = 4,  /* SIGKILL to the compile child of this job, where no pidfd came */
  EDGE_COMMAND_PING = 5     /* answered with PONG */
};

#define EDGE_PATH_MAX 1024u

struct edge_command {
  uint32_t kind;
  uint32_t slot; /* COMPILE, CANCEL: the job */
  uint32_t generation;
  uint32_t memory_bytes; /* COMPILE: RLIMIT_DATA beyond what the process has at its start */
  uint32_t cpu_seconds;  /* COMPILE: RLIMIT_CPU */
  uint32_t path_len;     /* COMPILE: the path is absolute and holds no NUL */
  char path[EDGE_PATH_MAX];
};

/*
 * The zygote sends one of these for each child that it forked, on the same socket, with its pidfd
 * (SCM_RIGHTS); for a worker before it reports STARTED. Where the kernel gives none it sends none, and the
 * child is killed by command.
 */
struct edge_handle {
  uint32_t kind;             /* EDGE_COMMAND_FORK or EDGE_COMMAND_COMPILE */
  uint32_t slot, generation; /* as in the command */
};

/*
 * The first byte of each stream that the zygote opens to the edge. After it come events, or wake-ups, each of
 * which asks the edge to drain the ring.
 */
enum edge_preface { EDGE_PREFACE_EVENTS = 0x45, EDGE_PREFACE_WAKES = 0x57 };

/* A wake-up. A worker cannot send another's (seccomp.h); a process that shares the stream sends no other. */
struct edge_wake {
  uint32_t slot, generation; /* of the worker */
};

/* Events from the zygote to the edge, each one struct edge_event. */
enum edge_event_kind {
  EDGE_EVENT_OPEN = 1,    /* the zygote serves; pid: its own; value: its threads, which must be 1 */
  EDGE_EVENT_STARTED = 2, /* a worker was forked; slot, generation, pid */
  EDGE_EVENT_EXITED = 3,  /* a worker is reaped, and its slots may be used again; all fields */
  EDGE_EVENT_COMPILED = 4, /* a compile child is reaped; slot: the job; EDGE_COMPILE_DONE: the file exists */
  EDGE_EVENT_PONG = 5,     /* the answer to a PING */
  EDGE_EVENT_WALL = 6      /* a part of the wall, each once before OPEN; slot, how, value: as in wall.h */
};

/* How a child ended; `value` is its exit code, its signal, or the errno of the fork that failed. */
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
  EDGE_EXIT_START_FAILED = 40,   /* the guest could not be loaded, linked or instantiated */
  EDGE_EXIT_SANDBOX_FAILED = 41, /* the kernel refused a part of the sandbox */
  EDGE_EXIT_PROTOCOL = 42        /* the ring or the code was not as this header says */
};

/* Exit codes of a compile child. */
enum edge_compile_exit {
  EDGE_COMPILE_DONE = 0,
  EDGE_COMPILE_REFUSED = 50, /* the compiler refused the module */
  EDGE_COMPILE_IO = 51,      /* the module could not be read, or the result not be written */
  EDGE_COMPILE_SANDBOX = 52, /* the kernel refused a part of the sandbox, or LLVM hides its threads */
  EDGE_COMPILE_LIMIT = 53,   /* a limit of processor time or file size was reached */
  EDGE_COMPILE_ABORTED = 54  /* LLVM ended itself: for want of memory, or because it cannot do this module */
};

#endif
