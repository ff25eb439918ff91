/* Gives up what a child does not need: signals, environment, memory, files, identity, privileges. */
#define _GNU_SOURCE
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_KEPT 3
#define PARKED 64 /* kept descriptors move above this number while the low ones are assigned */
#define KEEP_MAX 8u
#define RESERVATION_BYTES_MIN (512ul << 20)
#define RESERVATIONS_MAX 16u

bool edge_sandbox_signals(void) {
  const struct sigaction standard = {.sa_handler = SIG_DFL};
  for (int number = 1; number < NSIG; number++) {
    /* EINVAL: SIGKILL and SIGSTOP, which have no handler, and two signals that libc keeps for its threads. */
    if (sigaction(number, &standard, NULL) != 0 && errno != EINVAL) return false;
  }
  return true;
}

static bool mask_clear(void) {
  sigset_t none;
  return sigemptyset(&none) == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0;
}

/* Also wipes the strings: clearenv drops the list of them only. */
static bool environment_drop(void) {
  for (char **entry = environ; entry != NULL && *entry != NULL; entry++)
    explicit_bzero(*entry, strlen(*entry));
  return clearenv() == 0;
}

/*
 * Address space that the JavaScript engine and its allocator have reserved: nameless, private, writable and
 * far larger than anything of ours. A child runs no JavaScript and unmaps it, because RLIMIT_DATA would let
 * a guest fill what the child inherits.
 */
static struct {
  void *at;
  size_t bytes;
} reservation[RESERVATIONS_MAX];
static unsigned reservations;

/* Lists the reservations of this process; 0 or errno. */
static int reservations_find(void) {
  char line[512], permissions[5];
  unsigned long from, to;
  FILE *maps = fopen("/proc/self/maps", "re");
  if (maps == NULL) return errno;
  reservations = 0;
  while (fgets(line, sizeof line, maps) != NULL && reservations < RESERVATIONS_MAX) {
    int end = 0;
    if (sscanf(line, "%lx-%lx %4s %*s %*s %*s%n", &from, &to, permissions, &end) != 3 || end == 0) continue;
    const bool has_name = line[end + (int)strspn(line + end, " ")] != '\n';
    if (has_name || strcmp(permissions, "rw-p") != 0 || to - from < RESERVATION_BYTES_MIN) continue;
    reservation[reservations].at = (void *)from;
    reservation[reservations++].bytes = to - from;
  }
  fclose(maps);
  return 0;
}

static bool reservations_unmap(void) {
  for (unsigned i = 0; i < reservations; i++)
    if (munmap(reservation[i].at, reservation[i].bytes) != 0) return false;
  return true;
}

/* VmData in bytes, from /proc/self/status; 0 when it cannot be read. */
static uint64_t data_now(void) {
  char text[2048];
  const int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  if (got <= 0) return 0;
  text[got] = '\0';
  const char *line = strstr(text, "VmData:");
  return line != NULL ? strtoull(line + 7, NULL, 10) * 1024 : 0;
}

/*
 * When memory is short, the kernel then ends a worker before it ends the edge. Where /proc is read-only the
 * kernel chooses by size: wall.h reads the score back and reports it.
 */
static void score_raise(void) {
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  dprintf(fd, "%d", EDGE_SANDBOX_OOM_SCORE);
  close(fd);
}

static bool limit(int resource, uint64_t value) {
  const struct rlimit both = {.rlim_cur = value, .rlim_max = value};
  return setrlimit((__rlimit_resource_t)resource, &both) == 0;
}

/* One second lies between the limits: SIGXCPU at the first is no kill for want of memory. */
static bool limit_cpu(uint32_t seconds) {
  const struct rlimit limits = {.rlim_cur = seconds, .rlim_max = (rlim_t)seconds + 1};
  return setrlimit(RLIMIT_CPU, &limits) == 0;
}

static bool limits_set(const struct edge_sandbox *sandbox) {
  const uint64_t data = data_now();
  if (data == 0) return false;
  if (sandbox->cpu_seconds > 0 && !limit_cpu(sandbox->cpu_seconds)) return false;
  return limit(RLIMIT_DATA, data + sandbox->data_bytes) && limit(RLIMIT_STACK, sandbox->stack_bytes) &&
         limit(RLIMIT_FSIZE, sandbox->file_bytes) && limit(RLIMIT_NOFILE, sandbox->files) &&
         limit(RLIMIT_CORE, 0) && limit(RLIMIT_MEMLOCK, 0) && limit(RLIMIT_MSGQUEUE, 0);
}

/* The processor goes to the edge and the zygote first; `nice` adds to what the operator chose, up to 19. */
static bool priority_lower(void) {
  errno = 0;
  return nice(EDGE_SANDBOX_NICE) != -1 || errno == 0;
}

/* Version of Landlock that the kernel has; -1 with errno when it has none. */
static long landlock_version(void) {
  return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/* Every right on files that this version of Landlock knows, as a mask. Source: the kernel's documentation. */
static uint64_t file_rights(long version) {
  const unsigned counts[] = {0, 13, 14, 15, 15, 16};
  const size_t last = sizeof counts / sizeof counts[0] - 1;
  return (1ull << counts[version > (long)last ? last : (size_t)version]) - 1;
}

/*
 * The rules as version 6 has them, which headers may not know yet. Fields that a version does not know must
 * be zero. Source: the kernel's landlock.h.
 */
struct landlock_rules {
  uint64_t files, network, scopes;
};
enum { NETWORK_SINCE = 4, NETWORK_BIND = 1, NETWORK_CONNECT = 2 };
enum { SCOPES_SINCE = 6, SCOPE_ABSTRACT_SOCKETS = 1, SCOPE_SIGNALS = 2 };

/* From here on no path opens, and no signal and no abstract socket reaches a process that is not a child. */
static bool paths_shut(void) {
  const long version = landlock_version();
  if (version < 1) return true; /* wall.h reports it: filters and identity are the wall. */
  struct landlock_rules handled = {.files = file_rights(version)};
  if (version >= NETWORK_SINCE) handled.network = NETWORK_BIND | NETWORK_CONNECT;
  if (version >= SCOPES_SINCE) handled.scopes = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS;
  const int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
  if (rules < 0) return false;
  const bool done = syscall(SYS_landlock_restrict_self, rules, 0) == 0;
  close(rules);
  return done;
}

/*
 * Root becomes EDGE_SANDBOX_ID without groups; 0, or the errno for which it stays root. Some containers only
 * pretend that it worked.
 */
static int identity_drop(void) {
  if (geteuid() != 0) return 0;
  const bool done = setgroups(0, NULL) == 0 &&
                    setresgid(EDGE_SANDBOX_ID, EDGE_SANDBOX_ID, EDGE_SANDBOX_ID) == 0 &&
                    setresuid(EDGE_SANDBOX_ID, EDGE_SANDBOX_ID, EDGE_SANDBOX_ID) == 0;
  if (!done) return errno;
  return geteuid() == EDGE_SANDBOX_ID ? 0 : EPERM;
}

/*
 * A container may hold root without the right to become another user (EPERM), or without another user
 * (EINVAL). Its workers start all the same, behind the filters and Landlock; wall.h reports it.
 */
static bool may_stay_root(int error) { return error == EPERM || error == EINVAL; }

/*
 * Gives up every capability, also as a root that could not become another user, and as a user whose service
 * manager gave it some. A kernel before 4.3 has no ambient capabilities (EINVAL).
 */
static bool capabilities_drop(void) {
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
  const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL) return false;
  return syscall(SYS_capset, &head, none) == 0;
}

bool edge_sandbox_enter(const struct edge_sandbox *sandbox) {
  /* The environment first: its strings may lie in a reservation. */
  if (!mask_clear() || !environment_drop() || !reservations_unmap()) return false;
  if (prctl(PR_SET_NAME, sandbox->name, 0, 0, 0) != 0) return false;
  score_raise();
  if (!priority_lower()) return false;
  if (!limits_set(sandbox)) return false;
  const int kept = identity_drop();
  if (kept != 0 && !may_stay_root(kept)) return false;
  if (!capabilities_drop()) return false;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return false;
  if (!paths_shut()) return false;
  /* Set after the change of identity, which resets it. If the parent exited before, getppid names another. */
  return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() == sandbox->parent;
}

bool edge_sandbox_descriptors(int null_fd, const int *keep, unsigned count) {
  int parked[KEEP_MAX];
  if (count > KEEP_MAX) return false;
  for (int fd = 0; fd < FIRST_KEPT; fd++) {
    if (dup2(null_fd, fd) < 0) return false;
  }
  for (unsigned i = 0; i < count; i++) {
    parked[i] = fcntl(keep[i], F_DUPFD_CLOEXEC, PARKED);
    if (parked[i] < 0) return false;
  }
  for (unsigned i = 0; i < count; i++) {
    if (dup3(parked[i], FIRST_KEPT + (int)i, O_CLOEXEC) < 0) return false;
  }
  return close_range(FIRST_KEPT + count, ~0u, 0) == 0;
}

static int error_of(int result) { return result == 0 ? 0 : errno; }

/* An ordinary user may not (EPERM), and needs not: no_new_privs keeps its children from all of them. */
static int bounding_drop(void) {
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return errno;
  return 0;
}

static int mounts_enter(void) {
  const int error = error_of(unshare(CLONE_NEWNS));
  return error != 0 ? error : error_of(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

/* In a child, whose exit code is the errno for which it stays root. */
static int user_try(int *kept) {
  int status = 0;
  const pid_t pid = fork();
  if (pid == 0) _exit(identity_drop());
  if (pid < 0) return errno;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return errno;
  *kept = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
  return 0;
}

int edge_sandbox_open(struct edge_sandbox_opened *opened) {
  const bool is_root = geteuid() == 0;
  opened->reservations = reservations_find();
  opened->network = is_root ? error_of(unshare(CLONE_NEWNET)) : EPERM;
  opened->ipc = is_root ? error_of(unshare(CLONE_NEWIPC)) : EPERM;
  opened->mounts = is_root ? mounts_enter() : EPERM;
  opened->bounding = bounding_drop();
  return user_try(&opened->user);
}
