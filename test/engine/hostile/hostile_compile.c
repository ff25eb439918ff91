/* The compile child as an attacker who took it over runs it: it does what its module names. */
/*
 * That happens where it would compile. Everything before, the filter included, is the real compile child. Of
 * two compiles of modules that name an attack the second is honest: a test sees what the first has left.
 */
#define _GNU_SOURCE
#include "../../../native/compile.h"
#include "../../../native/library.h"

static WasmEdge_Result misbehave(WasmEdge_CompilerContext *compiler, const uint8_t *bytes, uint64_t count,
                                 const char *output);
static pid_t honest_fork(const struct edge_compile *compile);

#define WasmEdge_CompilerCompileFromBuffer(...) misbehave(__VA_ARGS__)
#define edge_compile_fork honest_fork
#include "../../../native/compile.c"
#undef edge_compile_fork
#undef WasmEdge_CompilerCompileFromBuffer

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <time.h>

/* Exit codes that tell the test how an attack ended. */
enum { REACHED = 77, REFUSED = 78 };

#define MARK "ATTACK="
#define MANY 4096
#define HUGE (1l << 40)
#define COUNT(list) (sizeof(list) / sizeof(list)[0])
#define THREAD                                                                                       \
  (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS | \
   CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

/* The compiles of modules that name an attack, counted by the zygote. */
static unsigned attacks;

pid_t edge_compile_fork(const struct edge_compile *compile) {
  static char bytes[1u << 20];
  const ssize_t got = pread(compile->module_fd, bytes, sizeof bytes, 0);
  if (got > 0 && memmem(bytes, (size_t)got, MARK, sizeof MARK - 1) != NULL) attacks++;
  return honest_fork(compile);
}

static char scratch[4096];

/* One call; one that the filter stops ends the process. */
struct call {
  const char *name;
  long number;
  long argument[6];
};

static void calls_try(const char *name, long pid) {
  const long zero = (long)scratch, here = AT_FDCWD, result = (long)EDGE_FILES_RESULT, other = (long)"other";
  const struct call calls[] = {
      {"process", SYS_clone, {SIGCHLD}},
      {"thread", SYS_clone, {THREAD, zero + 2048, zero, zero, 0}},
      {"clone3", SYS_clone3, {zero, 64}},
      {"kill", SYS_kill, {pid, SIGKILL}},
      {"kill a thread", SYS_tkill, {pid, SIGKILL}},
      {"kill a thread of a group", SYS_tgkill, {pid, pid, SIGKILL}},
      {"queue a signal", SYS_rt_sigqueueinfo, {pid, SIGKILL, zero}},
      {"queue a signal to a thread", SYS_rt_tgsigqueueinfo, {pid, pid, SIGKILL, zero}},
      {"open a process", SYS_pidfd_open, {pid, 0}},
      {"signal a descriptor", SYS_pidfd_send_signal, {RESULT_FD, SIGKILL, 0, 0}},
      {"own", SYS_fcntl, {RESULT_FD, F_SETOWN, pid}},
      {"own more", SYS_fcntl, {RESULT_FD, F_SETOWN_EX, zero}},
      {"choose a signal", SYS_fcntl, {RESULT_FD, F_SETSIG, SIGKILL}},
      {"signal at a lease", SYS_fcntl, {RESULT_FD, F_SETLEASE, F_WRLCK}},
      {"signal at a name", SYS_fcntl, {RESULT_FD, F_NOTIFY, 4}},
      {"own by request", SYS_ioctl, {STDERR_FILENO, FIOSETOWN, zero}},
      {"die with", SYS_prctl, {PR_SET_PDEATHSIG, SIGKILL}},
      {"timer", SYS_timer_create, {CLOCK_MONOTONIC, zero, zero}},
      {"interval", SYS_setitimer, {0, zero, 0}},
      {"trace", SYS_ptrace, {PTRACE_SEIZE, pid, 0, 0}},
      {"read a process", SYS_process_vm_readv, {pid, zero, 1, zero, 1, 0}},
      {"write a process", SYS_process_vm_writev, {pid, zero, 1, zero, 1, 0}},
      {"limit a process", SYS_prlimit64, {pid, RLIMIT_CPU, zero, 0}},
      {"place a process", SYS_sched_setaffinity, {pid, 128, zero}},
      {"change a mode", SYS_fchmodat, {here, result, 07777}},
      {"change the mode of a descriptor", SYS_fchmod, {RESULT_FD, 07777}},
      {"change an owner", SYS_fchown, {RESULT_FD, 0, 0}},
      {"make a link", SYS_linkat, {here, result, here, other, 0}},
      {"link a descriptor", SYS_linkat, {RESULT_FD, (long)"", here, other, AT_EMPTY_PATH}},
      {"make a symbolic link", SYS_symlinkat, {(long)"/etc/passwd", here, result}},
      {"make a fifo", SYS_mknodat, {here, result, S_IFIFO | 0666, 0}},
      {"make a directory", SYS_mkdirat, {here, result, 0777}},
      {"rename", SYS_renameat2, {here, result, here, other, 0}},
      {"read the system", SYS_openat, {here, (long)"/etc/passwd", O_RDONLY}},
      {"read a neighbour", SYS_openat, {here, (long)"/proc/1/mem", O_RDWR}},
      {"list", SYS_openat, {here, (long)".", O_RDONLY | O_DIRECTORY}},
      {"list a descriptor", SYS_getdents64, {RESULT_FD, zero, sizeof scratch}},
      {"reserve", SYS_fallocate, {RESULT_FD, 0, 0, HUGE}},
      {"execute", SYS_execve, {(long)"/bin/true", 0, 0}},
      {"socket", SYS_socket, {1, 1, 0}},
      {"file in memory", SYS_memfd_create, {other, 0}},
      {"aio", SYS_io_setup, {1, zero}},
      {"namespace", SYS_unshare, {CLONE_NEWUSER}},
  };
  for (size_t i = 0; i < COUNT(calls); i++) {
    const long *a = calls[i].argument;
    if (strcmp(calls[i].name, name) != 0) continue;
    _exit(syscall(calls[i].number, a[0], a[1], a[2], a[3], a[4], a[5]) >= 0 ? REACHED : REFUSED);
  }
}

/* Makes as many files as it can, here and where everybody may write. */
static void files(void) {
  char name[64];
  unsigned made = 0;
  for (int i = 0; i < MANY; i++) {
    (void)snprintf(name, sizeof name, i % 2 == 0 ? "many%d" : "/tmp/edge-many%d", i);
    const int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0666);
    made += fd >= 0;
    if (fd >= 0) close(fd);
  }
  _exit(made > 2 ? REACHED : REFUSED);
}

/* Writes past every bound. */
static void large(bool at_once) {
  for (int fd = RESULT_FD; fd <= OBJECT_FD; fd++) {
    if (at_once && ftruncate(fd, HUGE) == 0) _exit(REACHED);
    if (!at_once && pwrite(fd, "x", 1, EDGE_COMPILE_FILE_BYTES_MAX) == 1) _exit(REACHED);
  }
  _exit(REFUSED);
}

/* Takes memory until the kernel gives no more; the exit code says how much, in steps of 64 MiB. */
static void hoard(void) {
  const size_t step = 64u << 20;
  int steps = 0;
  while (steps < REACHED &&
         mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
    steps++;
  _exit(steps);
}

static int overflow(unsigned depth) {
  volatile char here[4096];
  here[0] = (char)depth;
  return depth == 0 ? 0 : overflow(depth - 1) + here[0];
}

static WasmEdge_Result misbehave(WasmEdge_CompilerContext *compiler, const uint8_t *bytes, uint64_t count,
                                 const char *output) {
  const char *asked = memmem(bytes, count, MARK, sizeof MARK - 1);
  static char name[64];
  if (asked != NULL && attacks % 2 == 1) {
    (void)snprintf(name, sizeof name, "%s", asked + sizeof MARK - 1);
    char *at = strchr(name, '@');
    if (at != NULL) *at = '\0';
    if (strcmp(name, "files") == 0) files();
    if (strcmp(name, "large") == 0) large(false);
    if (strcmp(name, "large at once") == 0) large(true);
    if (strcmp(name, "hoard") == 0) hoard();
    if (strcmp(name, "abort") == 0) abort();
    if (strcmp(name, "overflow") == 0) _exit(overflow(1u << 20));
    if (strcmp(name, "nothing") == 0) _exit(EDGE_COMPILE_DONE);
    if (strcmp(name, "garbage") == 0) _exit(write(RESULT_FD, scratch, sizeof scratch) > 0 ? 0 : REFUSED);
    calls_try(name, at != NULL ? strtol(at + 1, NULL, 10) : 0);
    _exit(REACHED + 2); /* no such attack */
  }
  return WasmEdge_CompilerCompileFromBuffer(compiler, bytes, count, output);
}
