/* Gives up what a child does not need: signals, limits, identity, privileges. */
#define _GNU_SOURCE
#include "sandbox.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIRST_KEPT 3
#define PARKED 64 /* descriptors wait here while the low numbers are given out */
#define KEEP_MAX 8u

void edge_sandbox_signals(void) {
  const struct sigaction standard = {.sa_handler = SIG_DFL};
  for (int number = 1; number < NSIG; number++)
    (void)sigaction(number, &standard, NULL);
}

static void mask_clear(void) {
  sigset_t none;
  sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Wipes the strings too, which stay in memory when only the list is dropped. */
static void environment_drop(void) {
  for (char **entry = environ; entry != NULL && *entry != NULL; entry++)
    explicit_bzero(*entry, strlen(*entry));
  (void)clearenv();
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

/* The kernel then takes a worker before it takes the edge. */
static void score_raise(void) {
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  const ssize_t ignored = write(fd, "800", 3);
  (void)ignored;
  close(fd);
}

static bool limit(int resource, uint64_t value) {
  const struct rlimit both = {.rlim_cur = value, .rlim_max = value};
  return setrlimit((__rlimit_resource_t)resource, &both) == 0;
}

static bool limits_set(const struct edge_sandbox *sandbox) {
  const uint64_t data = data_now();
  if (data == 0) return false;
  if (sandbox->cpu_seconds > 0 && !limit(RLIMIT_CPU, sandbox->cpu_seconds)) return false;
  return limit(RLIMIT_DATA, data + sandbox->data_bytes) && limit(RLIMIT_STACK, sandbox->stack_bytes) &&
         limit(RLIMIT_FSIZE, sandbox->file_bytes) && limit(RLIMIT_NOFILE, sandbox->files) &&
         limit(RLIMIT_CORE, 0) && limit(RLIMIT_MEMLOCK, 0) && limit(RLIMIT_MSGQUEUE, 0);
}

static bool directory_enter(const char *directory) {
  if (directory == NULL) return true;
  if (chdir(directory) != 0) return false;
  return geteuid() != 0 || chroot(".") != 0 || chdir("/") == 0;
}

/* Every right on files that a kernel of this Landlock version knows, as a mask; kernel documentation. */
static uint64_t file_rights(long version) {
  const unsigned counts[] = {0, 13, 14, 15, 15, 16};
  const size_t last = sizeof counts / sizeof counts[0] - 1;
  return (1ull << counts[version > (long)last ? last : (size_t)version]) - 1;
}

/* From here on no path opens but those below the working directory, or none at all. */
static bool paths_shut(bool keeps_directory) {
  const long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) return true; /* a kernel without Landlock: the filters and the identity are the wall */
  const struct landlock_ruleset_attr handled = {.handled_access_fs = file_rights(version)};
  const int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
  if (rules < 0) return false;
  bool done = true;
  if (keeps_directory) {
    struct landlock_path_beneath_attr below = {.allowed_access = handled.handled_access_fs &
                                                                 ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE};
    below.parent_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    done = below.parent_fd >= 0 &&
           syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0) == 0;
    if (below.parent_fd >= 0) close(below.parent_fd);
  }
  done = done && syscall(SYS_landlock_restrict_self, rules, 0) == 0;
  close(rules);
  return done;
}

static bool identity_drop(void) {
  if (geteuid() != 0) return true;
  return setgroups(0, NULL) == 0 && setresgid(EDGE_SANDBOX_ID, EDGE_SANDBOX_ID, EDGE_SANDBOX_ID) == 0 &&
         setresuid(EDGE_SANDBOX_ID, EDGE_SANDBOX_ID, EDGE_SANDBOX_ID) == 0;
}

bool edge_sandbox_enter(const struct edge_sandbox *sandbox) {
  mask_clear();
  (void)prctl(PR_SET_NAME, sandbox->name, 0, 0, 0);
  score_raise();
  environment_drop();
  if (!limits_set(sandbox) || !directory_enter(sandbox->directory)) return false;
  /*
   * A container may hold root without the right to become another; root without capabilities is then the
   * most.
   */
  (void)identity_drop();
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return false;
  if (!paths_shut(sandbox->directory != NULL)) return false;
  /* After the change of identity, which clears it. */
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

void edge_sandbox_namespaces(void) {
  if (geteuid() != 0) return;
  (void)unshare(CLONE_NEWNET);
  (void)unshare(CLONE_NEWIPC);
  if (unshare(CLONE_NEWNS) == 0) (void)mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}
