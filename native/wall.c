/* Tries each part of the wall around the children, in children that are made for it. */
#define _GNU_SOURCE
#include "wall.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "seccomp.h"

#define DATA_BYTES (16ull << 20)
#define STACK_BYTES (8ull << 20)
#define FILE_BYTES (1ull << 20)
#define FILES 64u
#define PAGE 4096u
/* Private memory that a child may have inherited from the JavaScript engine in one piece. */
#define INHERITED_BYTES_MAX (512ul << 20)
#define NOTHING_FAILED 0
/* Exit codes of a child that tries a filter. */
enum { SANDBOX_REFUSED = 1, FILTER_REFUSED = 2, ARGUMENT_ALLOWED = 3, CALL_ALLOWED = 4 };

/* What a child writes and the zygote reads; shared memory, because a filter leaves no other way. */
struct shared {
  struct edge_wall wall;
  int error; /* of a child that could not enter its sandbox */
};

struct child {
  const struct edge_wall_trial *trial;
  struct shared *shared;
  pid_t zygote, edge;
  bool was_root;
};

static void find(struct child *child, enum edge_wall_part part, enum edge_wall_state state, int reason) {
  child->shared->wall.part[part] = (struct edge_wall_finding){(uint32_t)state, (uint32_t)reason};
}

/* Held, or missing for `error`, which may be NOTHING_FAILED. */
static void find_whether(struct child *child, enum edge_wall_part part, bool is_held, int error) {
  find(child, part, is_held ? EDGE_WALL_HELD : EDGE_WALL_MISSING, is_held ? 0 : error);
}

static void *take(size_t bytes, int sharing) {
  return mmap(NULL, bytes, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);
}

static uint64_t namespace_of(const char *path) {
  struct stat facts;
  return stat(path, &facts) == 0 ? facts.st_ino : 0;
}

void edge_wall_namespaces_read(struct edge_wall_namespaces *namespaces) {
  namespaces->network = namespace_of("/proc/self/ns/net");
  namespaces->ipc = namespace_of("/proc/self/ns/ipc");
  namespaces->mounts = namespace_of("/proc/self/ns/mnt");
  namespaces->processes = namespace_of("/proc/self/ns/pid");
}

static void namespace_try(struct child *child, enum edge_wall_part part, uint64_t edges, uint64_t own,
                          int error) {
  const bool is_other = edges != 0 && own != 0 && edges != own;
  if (is_other || geteuid() == 0)
    find_whether(child, part, is_other, error);
  else
    find(child, part, EDGE_WALL_NOT_APPLICABLE, 0);
}

/* Before the child enters the sandbox, while paths still open. */
static void namespaces_try(struct child *child) {
  const struct edge_wall_namespaces *edge = &child->trial->edge;
  const struct edge_sandbox_opened *opened = child->trial->opened;
  struct edge_wall_namespaces own;
  edge_wall_namespaces_read(&own);
  namespace_try(child, EDGE_WALL_NETWORK_NAMESPACE, edge->network, own.network, opened->network);
  namespace_try(child, EDGE_WALL_IPC_NAMESPACE, edge->ipc, own.ipc, opened->ipc);
  namespace_try(child, EDGE_WALL_MOUNT_NAMESPACE, edge->mounts, own.mounts, opened->mounts);
}

static long landlock_version(void) {
  return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/* The zygote has this open, so it is there, and everybody may open it. */
static bool path_opens(void) {
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

static void landlock_try(struct child *child) {
  const long version = landlock_version();
  const int error = version > 0 ? NOTHING_FAILED : errno;
  if (version > 0 && !path_opens())
    find(child, EDGE_WALL_LANDLOCK, EDGE_WALL_HELD, (int)version);
  else
    find(child, EDGE_WALL_LANDLOCK, EDGE_WALL_MISSING, error);
}

static bool is_other_user(void) {
  uid_t ids[3];
  gid_t groups[3];
  if (getresuid(&ids[0], &ids[1], &ids[2]) != 0 || getresgid(&groups[0], &groups[1], &groups[2]) != 0)
    return false;
  for (unsigned i = 0; i < 3; i++)
    if (ids[i] != EDGE_SANDBOX_ID || groups[i] != EDGE_SANDBOX_ID) return false;
  return getgroups(0, NULL) == 0;
}

/* A parent in another process namespace has no number here. */
static bool is_shielded(pid_t pid) { return pid == 0 || (kill(pid, 0) != 0 && errno == EPERM); }

static void user_try(struct child *child) {
  const bool is_held = is_other_user() && is_shielded(child->zygote) && is_shielded(child->edge);
  if (child->was_root)
    find_whether(child, EDGE_WALL_USER, is_held, child->trial->opened->user);
  else
    find(child, EDGE_WALL_USER, EDGE_WALL_NOT_APPLICABLE, 0);
}

static void capabilities_try(struct child *child) {
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
  const int bounding = child->trial->opened->bounding;
  bool is_held = syscall(SYS_capget, &head, data) == 0;
  for (unsigned i = 0; is_held && i < _LINUX_CAPABILITY_U32S_3; i++)
    is_held = (data[i].effective | data[i].permitted | data[i].inheritable) == 0;
  for (unsigned long each = 0; is_held; each++) {
    const int bound = prctl(PR_CAPBSET_READ, each, 0, 0, 0);
    if (bound < 0) break; /* the kernel has no more capabilities */
    const bool is_bounded = bound == 0 || bounding == EPERM;
    is_held = is_bounded && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, each, 0, 0) <= 0;
  }
  find_whether(child, EDGE_WALL_CAPABILITIES, is_held, bounding == EPERM ? NOTHING_FAILED : bounding);
}

/* The parts that one flag of the process stands for. */
static void flags_try(struct child *child) {
  find_whether(child, EDGE_WALL_NO_NEW_PRIVS, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, NOTHING_FAILED);
  find_whether(child, EDGE_WALL_DUMPABLE, prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0, NOTHING_FAILED);
}

/* Whether /proc/self/maps, opened before, lists private nameless writable memory beyond the bound. */
static bool inherits_much(int fd) {
  char line[512], permissions[5];
  unsigned long from, to;
  bool is_read = false;
  FILE *maps = fdopen(fd, "r");
  while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
    int end = 0;
    if (sscanf(line, "%lx-%lx %4s %*s %*s %*s%n", &from, &to, permissions, &end) != 3 || end == 0) continue;
    is_read = true;
    const bool has_name = line[end + (int)strspn(line + end, " ")] != '\n';
    if (!has_name && strcmp(permissions, "rw-p") == 0 && to - from >= INHERITED_BYTES_MAX) return true;
  }
  return !is_read;
}

static void memory_try(struct child *child, int maps) {
  const void *at = take(DATA_BYTES + PAGE, MAP_PRIVATE);
  const bool is_held = at == MAP_FAILED && errno == ENOMEM && !inherits_much(maps);
  find_whether(child, EDGE_WALL_MEMORY, is_held, child->trial->opened->reservations);
}

static void score_try(struct child *child, int score) {
  char text[16] = "";
  const bool is_read = read(score, text, sizeof text - 1) > 0;
  find_whether(child, EDGE_WALL_OOM_SCORE, is_read && atoi(text) >= EDGE_SANDBOX_OOM_SCORE, NOTHING_FAILED);
}

/* Enters the sandbox; `parent` as getppid names the zygote. */
static bool enter(const struct child *child, pid_t parent) {
  const struct edge_sandbox sandbox = {.data_bytes = DATA_BYTES,
                                       .stack_bytes = STACK_BYTES,
                                       .file_bytes = FILE_BYTES,
                                       .files = FILES,
                                       .parent = parent,
                                       .name = "edge-trial"};
  if (edge_sandbox_enter(&sandbox)) return true;
  child->shared->error = errno != 0 ? errno : EIO;
  return false;
}

/* Says that it is done, and waits to be killed, or for the zygote to close the other end. */
static void wait_for_kill(int fd) {
  char byte = 0;
  if (send(fd, &byte, 1, MSG_NOSIGNAL) == 1) recv(fd, &byte, 1, 0);
}

static void worker_try(struct child *child, int fd) {
  const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  const int score = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
  namespaces_try(child);
  if (!enter(child, child->zygote)) return;
  landlock_try(child);
  user_try(child);
  capabilities_try(child);
  flags_try(child);
  memory_try(child, maps);
  score_try(child, score);
  wait_for_kill(fd);
}

/* In a namespace of users, an ordinary user has the number of another without being one. */
static void compile_try(struct child *child, int fd) {
  const struct edge_wall_trial *trial = child->trial;
  const bool is_apart = trial->apart->flags != 0 && getppid() == 0;
  const uint64_t processes = namespace_of("/proc/self/ns/pid");
  if (!enter(child, trial->apart->flags != 0 ? 0 : child->zygote)) return;
  const bool has_landlock = landlock_version() > 0;
  const int error = has_landlock ? NOTHING_FAILED : ENOSYS;
  const bool is_held = (has_landlock && !path_opens()) || (child->was_root && is_other_user());
  find_whether(child, EDGE_WALL_COMPILE_FILES, is_held, error);
  const bool is_other = is_apart && processes != trial->edge.processes;
  find_whether(child, EDGE_WALL_PID_NAMESPACE, is_other, trial->not_apart);
  wait_for_kill(fd);
}

/*
 * Forks a child for one of the two trials above, into `apart`, and kills it when it is done, as a deadline
 * does. Returns 0, or the errno for which it could not.
 */
static int try_and_kill(struct child *child, const struct edge_namespace *apart,
                        void (*trial)(struct child *, int)) {
  int pair[2], error = 0;
  char byte;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return errno;
  const pid_t pid = edge_namespace_fork(apart);
  if (pid == 0) {
    close(pair[0]);
    trial(child, pair[1]);
    _exit(0);
  }
  if (pid < 0) error = errno;
  close(pair[1]);
  if (pid > 0 && recv(pair[0], &byte, 1, 0) != 1) {
    const int found = child->shared->error;
    error = found != 0 ? found : EIO;
  }
  if (pid > 0 && kill(pid, SIGKILL) != 0) error = errno;
  close(pair[0]);
  while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
    continue;
  return error;
}

static void filter_install(const struct child *child, enum edge_filter filter) {
  if (edge_seccomp_install(filter, -1)) return;
  child->shared->error = errno;
  _exit(FILTER_REFUSED);
}

/*
 * In a child: an argument that the filter answers with an error, then a call that ends the process. The
 * signal of such a call must have its default action, which the JavaScript engine may have changed.
 */
_Noreturn static void filter_try(const struct child *child, enum edge_filter filter) {
  void *page = take(PAGE, MAP_PRIVATE);
  if (!edge_sandbox_signals() || !enter(child, child->zygote)) _exit(SANDBOX_REFUSED);
  if (filter == EDGE_FILTER_RUN) filter_install(child, EDGE_FILTER_LOAD);
  filter_install(child, filter);
  if (mremap(page, PAGE, 2 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED || errno != ENOMEM) _exit(ARGUMENT_ALLOWED);
  if (filter == EDGE_FILTER_RUN)
    kill(child->zygote, 0);
  else
    path_opens();
  _exit(CALL_ALLOWED);
}

/* Returns 0, or the errno for which there was no child; `error` is that of a filter that does not hold. */
static int filter_judge(const struct child *child, enum edge_filter filter, bool *is_held, int *error) {
  int status = 0;
  child->shared->error = NOTHING_FAILED;
  const pid_t pid = fork();
  if (pid == 0) filter_try(child, filter);
  if (pid < 0) return errno;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return errno;
  *is_held = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
  *error = child->shared->error;
  return 0;
}

static int seccomp_try(struct child *child) {
  const enum edge_filter filters[] = {EDGE_FILTER_RUN, EDGE_FILTER_COMPILE};
  int error = NOTHING_FAILED;
  bool is_held = true;
  for (unsigned i = 0; i < sizeof filters / sizeof filters[0] && is_held; i++) {
    const int failed = filter_judge(child, filters[i], &is_held, &error);
    if (failed != 0) return failed;
  }
  find_whether(child, EDGE_WALL_SECCOMP, is_held, error);
  return 0;
}

int edge_wall_try(const struct edge_wall_trial *trial, struct edge_wall *wall) {
  struct shared *shared = take(sizeof *shared, MAP_SHARED);
  if (shared == MAP_FAILED) return errno;
  const struct edge_namespace together = {.flags = 0, .parent_fd = -1};
  struct child child = {.trial = trial,
                        .shared = shared,
                        .zygote = getpid(),
                        .edge = getppid(),
                        .was_root = geteuid() == 0};
  for (uint32_t part = 0; part < EDGE_WALL_PARTS; part++)
    find(&child, (enum edge_wall_part)part, EDGE_WALL_MISSING, NOTHING_FAILED);
  int error = try_and_kill(&child, &together, worker_try);
  if (error == 0) error = try_and_kill(&child, trial->apart, compile_try);
  if (error == 0) error = seccomp_try(&child);
  *wall = shared->wall;
  /* A worker that inherited this could write what the zygote reports. */
  if (munmap(shared, sizeof *shared) != 0 && error == 0) error = errno;
  return error;
}

bool edge_wall_holds(const struct edge_wall *wall) {
  const enum edge_wall_part necessary[] = {EDGE_WALL_SECCOMP, EDGE_WALL_CAPABILITIES, EDGE_WALL_MEMORY};
  for (unsigned i = 0; i < sizeof necessary / sizeof necessary[0]; i++)
    if (wall->part[necessary[i]].state != EDGE_WALL_HELD) return false;
  return true;
}
