/* Runs one worker: its start, then request after request. */
#define _GNU_SOURCE
#include "worker.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "instance.h"
#include "sandbox.h"
#include "seccomp.h"

#define WASM_PAGE 65536u
#define CODE_BYTES_MAX (1u << 30)
/* A load copies the code into the module and into executable memory; RLIMIT_DATA has room for twice that. */
#define CODE_COPIES 4u
#define WORKER_FILES 8u
/* The descriptors that a worker keeps. */
enum { WAKE_FD = 3, MEMORY_FD = 4, CODE_FD = 5 };
/* The name of the worker, and the only bytes that it may send. */
#define WAKE ((struct edge_wake *)EDGE_WAKE_ADDRESS)

struct life {
  struct edge_board *board; /* the start of the worker's memory */
  uint8_t *first;           /* its first slot */
  const struct edge_geometry *geometry;
  uint32_t generation;
  uint32_t index; /* of the current slot, counted from the first */
  struct edge_start settings;
  uint8_t *strings; /* the entrypoint's name, then the environment */
  struct edge_request request;
  struct edge_module module;
  struct edge_instance instance;
  uint32_t reused;   /* requests that the instance has served */
  uint32_t cpu_then; /* CPU time at the end of the last request, in microseconds */
};

_Noreturn static void leave(int code) { _exit(code); }

static uint32_t word_of(const struct life *life, enum edge_slot_state state) {
  return (life->generation << 8) | (uint32_t)state;
}

static void *map(int fd, size_t bytes, int protection, int flags) {
  void *at = mmap(NULL, bytes, protection, flags, fd, 0);
  return at == MAP_FAILED ? NULL : at;
}

/* Makes one of the worker's slots the current one. */
static void slot_select(struct life *life, uint32_t index) {
  const struct edge_geometry *geometry = life->geometry;
  uint8_t *start = life->first + (uint64_t)index * geometry->slot_bytes;
  life->index = index;
  life->request.control = (struct edge_slot *)(void *)start;
  for (unsigned part = 0; part < EDGE_PARTS; part++)
    life->request.part[part] = start + geometry->offset[part];
}

/* Maps the memory of the worker, the only memory that it shares with anybody. */
static void memory_map(struct life *life, const struct edge_worker *worker) {
  const struct edge_geometry *geometry = worker->geometry;
  uint8_t *at = map(MEMORY_FD, edge_geometry_worker_bytes(geometry), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_NORESERVE);
  close(MEMORY_FD);
  if (at == NULL) leave(EDGE_EXIT_PROTOCOL);
  /* Where the kernel has huge pages, a word would fill one, and the edge counts pages. */
  (void)madvise(at, edge_geometry_worker_bytes(geometry), MADV_NOHUGEPAGE);
  life->board = (struct edge_board *)(void *)at;
  life->first = at + edge_geometry_slot(geometry, 0);
  life->geometry = geometry;
  life->generation = worker->generation;
  for (unsigned part = 0; part < EDGE_PARTS; part++)
    life->request.part_bytes[part] = geometry->bytes[part];
  life->request.phase = &life->board->phase;
  slot_select(life, 0);
  if (__atomic_load_n(&life->board->state[0], __ATOMIC_ACQUIRE) != word_of(life, EDGE_SLOT_STARTING)) {
    leave(EDGE_EXIT_PROTOCOL);
  }
}

/* Makes the page that the worker sends from, which nobody can change after the first filter. */
static void wake_open(const struct edge_worker *worker) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  if (mmap(WAKE, EDGE_PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) != WAKE) leave(EDGE_EXIT_SANDBOX_FAILED);
  *WAKE = (struct edge_wake){worker->slot, worker->generation};
  if (mprotect(WAKE, EDGE_PAGE, PROT_READ) != 0) leave(EDGE_EXIT_SANDBOX_FAILED);
}

/* Copies the start block, because the first request overwrites it. */
static void settings_copy(struct life *life) {
  const uint8_t *from = life->request.part[EDGE_PART_REQUEST_HEAD];
  memcpy(&life->settings, from, sizeof life->settings);
  const struct edge_start *settings = &life->settings;
  const uint64_t strings = (uint64_t)settings->entrypoint_len + settings->env_len;
  if (sizeof *settings + strings > life->request.part_bytes[EDGE_PART_REQUEST_HEAD])
    leave(EDGE_EXIT_PROTOCOL);
  life->strings = malloc(strings + 1);
  if (life->strings == NULL) leave(EDGE_EXIT_PROTOCOL);
  memcpy(life->strings, from + sizeof *settings, strings);
  life->request.env = (struct edge_bytes){life->strings + settings->entrypoint_len, settings->env_len};
  life->request.host_calls_max = settings->host_calls_max;
  life->request.log_lines_max = settings->log_lines_max;
  life->instance.module = &life->module;
  life->instance.settings = settings;
  life->instance.entrypoint_name = (struct edge_bytes){life->strings, settings->entrypoint_len};
  life->instance.request = &life->request;
}

/* Maps the code, which must be sealed: nobody can change it after the edge has verified it. */
static struct edge_bytes code_map(void) {
  const int wanted = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
  struct stat facts;
  struct edge_bytes code = {NULL, 0};
  const int seals = fcntl(CODE_FD, F_GET_SEALS);
  if (seals < 0 || (seals & wanted) != wanted || fstat(CODE_FD, &facts) != 0) leave(EDGE_EXIT_PROTOCOL);
  if (facts.st_size > 0 && facts.st_size <= (off_t)CODE_BYTES_MAX) {
    code.at = map(CODE_FD, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE);
    code.len = code.at != NULL ? (uint32_t)facts.st_size : 0;
  }
  close(CODE_FD);
  return code;
}

static void sandbox_enter(const struct life *life, const struct edge_worker *worker, uint32_t code_bytes) {
  const struct edge_sandbox sandbox = {
      .data_bytes = (uint64_t)life->settings.memory_pages * WASM_PAGE + life->settings.data_overhead_bytes +
                    (uint64_t)code_bytes * CODE_COPIES,
      .stack_bytes = life->settings.stack_bytes,
      .file_bytes = 0,
      .files = WORKER_FILES,
      .cpu_seconds = 0,
      .parent = worker->parent,
      .name = "edge-worker",
  };
  if (!edge_sandbox_enter(&sandbox) || !edge_seccomp_install(EDGE_FILTER_LOAD, WAKE_FD)) {
    leave(EDGE_EXIT_SANDBOX_FAILED);
  }
}

static bool has_request(const struct life *life) {
  const uint32_t wanted = word_of(life, EDGE_SLOT_REQUEST);
  for (uint32_t i = 0; i < EDGE_WORKER_SLOTS; i++)
    if (__atomic_load_n(&life->board->state[i], __ATOMIC_SEQ_CST) == wanted) return true;
  return false;
}

/*
 * Tells the edge that the current slot is finished. While another request waits, it does not wake the edge:
 * the answer to that one will, and the edge sweeps every few milliseconds.
 */
static void announce(struct life *life) {
  struct edge_board *board = life->board;
  __atomic_fetch_or(&board->done, 1u << life->index, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&board->edge_sleeping, __ATOMIC_SEQ_CST) == 0 || has_request(life)) return;
  if (__atomic_exchange_n(&board->edge_sleeping, 0, __ATOMIC_SEQ_CST) == 0) return;
  /* Refused when the socket is full, and then it holds wake-ups enough. */
  (void)send(WAKE_FD, WAKE, sizeof *WAKE, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Moves the current slot from one state to another; false when it is not in the state `from`. */
static bool state_change(struct life *life, enum edge_slot_state from, enum edge_slot_state to) {
  uint32_t expected = word_of(life, from);
  return __atomic_compare_exchange_n(&life->board->state[life->index], &expected, word_of(life, to), false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/*
 * CPU time since the last call, in microseconds. The worker asks the kernel once per request, because asking
 * is slow, so the time to make the instance pristine counts towards the next one. The clock always exists.
 */
static uint32_t cpu_spent(struct life *life) {
  struct timespec time;
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  const uint32_t now = (uint32_t)((uint64_t)time.tv_sec * 1000000u + (uint64_t)time.tv_nsec / 1000u);
  const uint32_t spent = now - life->cpu_then;
  life->cpu_then = now;
  return spent;
}

static void start(struct life *life, const struct edge_worker *worker) {
  int32_t detail = 0;
  struct edge_bytes code = code_map();
  sandbox_enter(life, worker, code.len);
  (void)edge_request_open(&life->request, EDGE_MOMENT_START);
  enum edge_result result = EDGE_RESULT_LOAD_FAILED;
  if (code.at != NULL) result = edge_module_load(&life->module, code, life->settings.memory_pages, &detail);
  if (code.at != NULL) munmap((void *)(uintptr_t)code.at, code.len);
  if (result == EDGE_RESULT_ANSWER) result = edge_module_link(&life->module, &life->request, &detail);
  if (result == EDGE_RESULT_ANSWER) {
    if (!edge_seccomp_install(EDGE_FILTER_RUN, WAKE_FD)) leave(EDGE_EXIT_SANDBOX_FAILED);
    result = edge_instance_open(&life->instance, &detail);
  }
  edge_request_close(&life->request, result, detail, cpu_spent(life));
  const bool ready = result == EDGE_RESULT_ANSWER;
  if (!state_change(life, EDGE_SLOT_STARTING, ready ? EDGE_SLOT_READY : EDGE_SLOT_FAILED)) {
    leave(EDGE_EXIT_PROTOCOL);
  }
  announce(life);
  if (!ready) leave(EDGE_EXIT_START_FAILED);
}

/* Makes the instance pristine after a fault, and as often as the isolation demands. */
static void recycle(struct life *life, enum edge_result result) {
  const bool clean = life->settings.isolation == EDGE_ISOLATION_CLEAN || result != EDGE_RESULT_ANSWER;
  int32_t detail = 0;
  life->reused++;
  if (!clean && life->reused < life->settings.max_reuse) return;
  life->reused = 0;
  (void)edge_request_open(&life->request, EDGE_MOMENT_IDLE);
  if (edge_instance_recycle(&life->instance, &detail) != EDGE_RESULT_ANSWER) leave(EDGE_EXIT_START_FAILED);
}

static void serve(struct life *life) {
  struct edge_board *board = life->board;
  int32_t detail = 0;
  if (!edge_request_open(&life->request, EDGE_MOMENT_REQUEST)) leave(EDGE_EXIT_PROTOCOL);
  const enum edge_result result = edge_instance_handle(&life->instance, &detail);
  edge_request_close(&life->request, result, detail, cpu_spent(life));
  __atomic_store_n(&board->served, board->served + 1, __ATOMIC_RELAXED);
  if (!state_change(life, EDGE_SLOT_RUNNING, EDGE_SLOT_DONE)) leave(EDGE_EXIT_PROTOCOL);
  announce(life);
  recycle(life, result);
  __atomic_store_n(&board->recycled, board->served, __ATOMIC_RELEASE);
}

/* Begins the next request, in the order of the slots so that each gets its turn; false when there is none. */
static bool request_take(struct life *life) {
  const uint32_t wanted = word_of(life, EDGE_SLOT_REQUEST), last = life->index;
  for (uint32_t step = 1; step <= EDGE_WORKER_SLOTS; step++) {
    const uint32_t index = (last + step) % EDGE_WORKER_SLOTS;
    if (__atomic_load_n(&life->board->state[index], __ATOMIC_SEQ_CST) != wanted) continue;
    slot_select(life, index);
    if (state_change(life, EDGE_SLOT_REQUEST, EDGE_SLOT_RUNNING)) return true;
  }
  return false;
}

_Noreturn static void loop(struct life *life) {
  uint32_t *waiting = &life->board->waiting;
  for (;;) {
    while (request_take(life))
      serve(life);
    __atomic_store_n(waiting, 1, __ATOMIC_SEQ_CST);
    if (request_take(life)) {
      __atomic_store_n(waiting, 0, __ATOMIC_RELAXED);
      serve(life);
    } else {
      (void)syscall(SYS_futex, waiting, FUTEX_WAIT, 1, NULL, NULL, 0);
    }
  }
}

_Noreturn void edge_worker_run(const struct edge_worker *worker) {
  static struct life life;
  const int keep[] = {worker->wake_fd, worker->memory_fd, worker->code_fd};
  if (!edge_sandbox_descriptors(worker->null_fd, keep, sizeof keep / sizeof keep[0]))
    leave(EDGE_EXIT_SANDBOX_FAILED);
  memory_map(&life, worker);
  wake_open(worker);
  settings_copy(&life);
  start(&life, worker);
  loop(&life);
}
