/* The module `wasi_snapshot_preview1`, as small as guests can do with. */
#define _GNU_SOURCE
#include "wasi.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define IOVECS_MAX 1024u
#define SUBSCRIPTIONS_MAX 1024u
#define RANDOM_CHUNK_BYTES 65536u
#define SUBSCRIPTION_BYTES 48u
#define EVENT_BYTES 32u
#define NANOSECONDS 1000000000ull
#define FLAGS_ALL 0x1fu /* append, dsync, nonblock, rsync, sync */
#define RIGHT_FD_READ 2u
#define RIGHT_FD_WRITE 64u

static uint64_t load64(const uint8_t *at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static uint32_t load32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static int32_t denied(struct edge_call *call) {
  const struct edge_bytes name = {(const uint8_t *)call->name, (uint32_t)strlen(call->name)};
  edge_request_blame(call->request, name);
  call->request->fault = EDGE_RESULT_WASI_DENIED;
  return 0;
}

/*
 * Stores two counts. Here and below a store that fails has set the fault BAD_POINTER, which ends the request
 * whatever is returned.
 */
static int32_t sizes_store(struct edge_call *call, uint32_t count, uint32_t bytes) {
  (void)(edge_call_store32(call, call->argument[0], count) &&
         edge_call_store32(call, call->argument[1], bytes));
  return EDGE_WASI_SUCCESS;
}

static int32_t args_sizes_get(struct edge_call *call) { return sizes_store(call, 0, 0); }

static int32_t args_get(struct edge_call *call) {
  (void)call;
  return EDGE_WASI_SUCCESS;
}

/* The settings of the function as the edge wrote them: each entry ends with a NUL. */
static int32_t environ_sizes_get(struct edge_call *call) {
  const struct edge_bytes env = call->request->env;
  uint32_t count = 0;
  for (uint32_t i = 0; i < env.len; i++)
    count += env.at[i] == '\0';
  return sizes_store(call, count, env.len);
}

static int32_t environ_get(struct edge_call *call) {
  const struct edge_bytes env = call->request->env;
  uint64_t pointer = call->argument[0];
  uint8_t *to = edge_call_bytes(call, call->argument[1], env.len);
  if (to == NULL || env.len == 0) return EDGE_WASI_SUCCESS;
  memcpy(to, env.at, env.len);
  for (uint32_t start = 0, i = 0; i < env.len; i++) {
    if (env.at[i] != '\0') continue;
    if (!edge_call_store32(call, pointer, (uint32_t)call->argument[1] + start)) break;
    pointer += 4;
    start = i + 1;
  }
  return EDGE_WASI_SUCCESS;
}

static bool clock_of(uint64_t id, clockid_t *clock) {
  static const clockid_t CLOCKS[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID,
                                     CLOCK_THREAD_CPUTIME_ID};
  if (id >= sizeof CLOCKS / sizeof CLOCKS[0]) return false;
  *clock = CLOCKS[id];
  return true;
}

static uint64_t nanoseconds(const struct timespec *time) {
  return (uint64_t)time->tv_sec * NANOSECONDS + (uint64_t)time->tv_nsec;
}

static int32_t clock_res_get(struct edge_call *call) {
  struct timespec time;
  clockid_t clock;
  if (!clock_of(call->argument[0], &clock)) return EDGE_WASI_INVAL;
  if (clock_getres(clock, &time) != 0) return EDGE_WASI_INVAL;
  (void)edge_call_store64(call, call->argument[1], nanoseconds(&time));
  return EDGE_WASI_SUCCESS;
}

static int32_t clock_time_get(struct edge_call *call) {
  struct timespec time;
  clockid_t clock;
  if (!clock_of(call->argument[0], &clock)) return EDGE_WASI_INVAL;
  if (clock_gettime(clock, &time) != 0) return EDGE_WASI_INVAL;
  (void)edge_call_store64(call, call->argument[2], nanoseconds(&time));
  return EDGE_WASI_SUCCESS;
}

static int32_t random_get(struct edge_call *call) {
  uint8_t *to = edge_call_bytes(call, call->argument[0], call->argument[1]);
  uint64_t left = call->argument[1];
  while (to != NULL && left > 0) {
    const size_t chunk = left < RANDOM_CHUNK_BYTES ? (size_t)left : RANDOM_CHUNK_BYTES;
    const ssize_t got = getrandom(to, chunk, 0);
    if (got < 0 && errno != EINTR) return EDGE_WASI_IO;
    if (got > 0) {
      to += got;
      left -= (uint64_t)got;
    }
  }
  return EDGE_WASI_SUCCESS;
}

static int32_t fd_write(struct edge_call *call) {
  const uint64_t fd = call->argument[0], count = call->argument[2];
  uint64_t total = 0;
  if (fd != 1 && fd != 2) return EDGE_WASI_BADF;
  if (count > IOVECS_MAX) return EDGE_WASI_INVAL;
  const uint8_t *vectors = edge_call_bytes(call, call->argument[1], count * 8);
  for (uint64_t i = 0; vectors != NULL && i < count; i++) {
    const uint32_t len = load32(vectors + i * 8 + 4);
    const uint8_t *bytes = edge_call_bytes(call, load32(vectors + i * 8), len);
    if (bytes == NULL) return EDGE_WASI_SUCCESS;
    edge_request_stream(call->request, fd == 1 ? 0 : 1, bytes, len);
    total += len;
  }
  if (total > UINT32_MAX) return EDGE_WASI_INVAL;
  (void)edge_call_store32(call, call->argument[3], (uint32_t)total);
  return EDGE_WASI_SUCCESS;
}

static int32_t fd_read(struct edge_call *call) {
  const uint64_t count = call->argument[2];
  if (call->argument[0] != 0) return EDGE_WASI_BADF;
  if (count > IOVECS_MAX) return EDGE_WASI_INVAL;
  const uint8_t *vectors = edge_call_bytes(call, call->argument[1], count * 8);
  for (uint64_t i = 0; vectors != NULL && i < count; i++) {
    if (edge_call_bytes(call, load32(vectors + i * 8), load32(vectors + i * 8 + 4)) == NULL)
      return EDGE_WASI_SUCCESS;
  }
  (void)edge_call_store32(call, call->argument[3], 0);
  return EDGE_WASI_SUCCESS;
}

static int32_t fd_close(struct edge_call *call) {
  return call->argument[0] <= 2 ? EDGE_WASI_SUCCESS : EDGE_WASI_BADF;
}

static int32_t fd_seek(struct edge_call *call) {
  return call->argument[0] <= 2 ? EDGE_WASI_SPIPE : EDGE_WASI_BADF;
}

/* Of fdstat: u8 type (2: character device), u16 flags at 2, u64 rights at 8, u64 inherited rights at 16. */
static int32_t fd_fdstat_get(struct edge_call *call) {
  const uint64_t fd = call->argument[0];
  if (fd > 2) return EDGE_WASI_BADF;
  uint8_t *to = edge_call_bytes(call, call->argument[1], 24);
  if (to == NULL) return EDGE_WASI_SUCCESS;
  memset(to, 0, 24);
  to[0] = 2;
  to[8] = fd == 0 ? RIGHT_FD_READ : RIGHT_FD_WRITE;
  return EDGE_WASI_SUCCESS;
}

/* Changes nothing: the streams only append, never block and keep no state on a disk. */
static int32_t fd_fdstat_set_flags(struct edge_call *call) {
  if (call->argument[0] > 2) return EDGE_WASI_BADF;
  return (call->argument[1] & ~(uint64_t)FLAGS_ALL) == 0 ? EDGE_WASI_SUCCESS : EDGE_WASI_INVAL;
}

static int32_t fd_prestat(struct edge_call *call) {
  (void)call;
  return EDGE_WASI_BADF;
}

static int32_t sched_yield_now(struct edge_call *call) {
  (void)call;
  return EDGE_WASI_SUCCESS;
}

/* The nanoseconds until a clock subscription is due, at least 0; false when it is not of a known clock. */
static bool subscription_delay(const uint8_t *at, uint64_t *delay) {
  struct timespec time;
  clockid_t clock;
  const bool absolute = (at[40] & 1) != 0;
  if (at[8] != 0 || !clock_of(load32(at + 16), &clock) || clock_gettime(clock, &time) != 0) return false;
  const uint64_t wanted = load64(at + 24), now = nanoseconds(&time);
  *delay = !absolute ? wanted : wanted > now ? wanted - now : 0;
  return true;
}

/*
 * Serves subscriptions on clocks only: sleeps until the earliest is due and returns its events. At the
 * deadline of the request the edge kills the worker, asleep or not.
 */
static int32_t poll_oneoff(struct edge_call *call) {
  const uint64_t count = call->argument[2];
  uint64_t earliest = UINT64_MAX, delay;
  uint32_t happened = 0;
  if (count == 0 || count > SUBSCRIPTIONS_MAX) return EDGE_WASI_INVAL;
  const uint8_t *in = edge_call_bytes(call, call->argument[0], count * SUBSCRIPTION_BYTES);
  uint8_t *out = edge_call_bytes(call, call->argument[1], count * EVENT_BYTES);
  if (in == NULL || out == NULL) return EDGE_WASI_SUCCESS;
  for (uint64_t i = 0; i < count; i++) {
    if (!subscription_delay(in + i * SUBSCRIPTION_BYTES, &delay)) return EDGE_WASI_NOTSUP;
    if (delay < earliest) earliest = delay;
  }
  /* Collects the earliest before the sleep, because absolute times come closer during it. */
  uint64_t first[SUBSCRIPTIONS_MAX];
  for (uint64_t i = 0; i < count; i++) {
    if (!subscription_delay(in + i * SUBSCRIPTION_BYTES, &delay) || delay > earliest) continue;
    first[happened++] = load64(in + i * SUBSCRIPTION_BYTES);
  }
  struct timespec left = {(time_t)(earliest / NANOSECONDS), (long)(earliest % NANOSECONDS)};
  while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
    continue;
  for (uint32_t i = 0; i < happened; i++) {
    memset(out + (size_t)i * EVENT_BYTES, 0, EVENT_BYTES);
    memcpy(out + (size_t)i * EVENT_BYTES, &first[i], sizeof first[i]);
  }
  (void)edge_call_store32(call, call->argument[3], happened);
  return EDGE_WASI_SUCCESS;
}

static int32_t proc_exit(struct edge_call *call) {
  call->request->fault = EDGE_RESULT_EXITED;
  call->request->detail = (int32_t)(uint32_t)call->argument[0];
  return 0;
}

static const struct edge_import LIST[] = {
    {"args_get", "ii:i", args_get},
    {"args_sizes_get", "ii:i", args_sizes_get},
    {"environ_get", "ii:i", environ_get},
    {"environ_sizes_get", "ii:i", environ_sizes_get},
    {"clock_res_get", "ii:i", clock_res_get},
    {"clock_time_get", "iIi:i", clock_time_get},
    {"fd_close", "i:i", fd_close},
    {"fd_fdstat_get", "ii:i", fd_fdstat_get},
    {"fd_fdstat_set_flags", "ii:i", fd_fdstat_set_flags},
    {"fd_prestat_get", "ii:i", fd_prestat},
    {"fd_prestat_dir_name", "iii:i", fd_prestat},
    {"fd_read", "iiii:i", fd_read},
    {"fd_seek", "iIii:i", fd_seek},
    {"fd_write", "iiii:i", fd_write},
    {"poll_oneoff", "iiii:i", poll_oneoff},
    {"proc_exit", "i:", proc_exit},
    {"random_get", "ii:i", random_get},
    {"sched_yield", ":i", sched_yield_now},
    {"fd_advise", "iIIi:i", denied},
    {"fd_allocate", "iII:i", denied},
    {"fd_datasync", "i:i", denied},
    {"fd_fdstat_set_rights", "iII:i", denied},
    {"fd_filestat_get", "ii:i", denied},
    {"fd_filestat_set_size", "iI:i", denied},
    {"fd_filestat_set_times", "iIIi:i", denied},
    {"fd_pread", "iiiIi:i", denied},
    {"fd_pwrite", "iiiIi:i", denied},
    {"fd_readdir", "iiiIi:i", denied},
    {"fd_renumber", "ii:i", denied},
    {"fd_sync", "i:i", denied},
    {"fd_tell", "ii:i", denied},
    {"path_create_directory", "iii:i", denied},
    {"path_filestat_get", "iiiii:i", denied},
    {"path_filestat_set_times", "iiiiIIi:i", denied},
    {"path_link", "iiiiiii:i", denied},
    {"path_open", "iiiiiIIii:i", denied},
    {"path_readlink", "iiiiii:i", denied},
    {"path_remove_directory", "iii:i", denied},
    {"path_rename", "iiiiii:i", denied},
    {"path_symlink", "iiiii:i", denied},
    {"path_unlink_file", "iii:i", denied},
    {"proc_raise", "i:i", denied},
    {"sock_accept", "iii:i", denied},
    {"sock_recv", "iiiiii:i", denied},
    {"sock_send", "iiiii:i", denied},
    {"sock_shutdown", "ii:i", denied},
};

const struct edge_imports edge_wasi = {"wasi_snapshot_preview1", LIST, sizeof LIST / sizeof LIST[0]};
