/* Makes one system call behind one filter: exits with 0 when the call is allowed, dies of SIGSYS when not. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../native/seccomp.h"

#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static const char ZERO[64];

struct call {
  const char *name;
  long number;
  long argument[6];
};

int main(int count, char **arguments) {
  static const char *const FILTERS[] = {"load", "run", "compile"};
  const long zero = (long)ZERO;
  int wake[2];
  if (count != 3 || socketpair(AF_UNIX, SOCK_STREAM, 0, wake) != 0) return 2;
  const struct call calls[] = {
      {"getrandom", SYS_getrandom, {(long)calloc(1, 8), 8}},
      {"map", SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0}},
      {"wake", SYS_sendto, {wake[0], zero, 1, MSG_DONTWAIT}},
      {"complain", SYS_write, {STDERR_FILENO, zero, 0}},
      {"thread", SYS_clone, {CLONE_THREAD, 0, 0, 0, 0}},
      {"clone3", SYS_clone3, {0, 0}},
      {"limits", SYS_prlimit64, {0, 0, 0, 0}},
      {"is terminal", SYS_ioctl, {STDERR_FILENO, TCGETS, zero}},
      {"terminal mode", SYS_ioctl, {STDERR_FILENO, TCSETS, zero}},
      {"map executable", SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, ANONYMOUS, -1, 0}},
      {"map file", SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, 0, 0}},
      {"protect executable", SYS_mprotect, {0, 0, PROT_READ | PROT_EXEC}},
      {"open", SYS_openat, {AT_FDCWD, zero, 0}},
      {"read", SYS_read, {wake[0], zero, 0}},
      {"send elsewhere", SYS_sendto, {wake[1], zero, 1, MSG_DONTWAIT}},
      {"write elsewhere", SYS_write, {wake[0], zero, 1}},
      {"socket", SYS_socket, {AF_INET, SOCK_STREAM, 0}},
      {"connect", SYS_connect, {wake[0], zero, 16}},
      {"exec", SYS_execve, {zero, 0, 0}},
      {"process", SYS_clone, {SIGCHLD, 0, 0, 0, 0}},
      {"kill", SYS_kill, {getpid(), 0}},
      {"signal another", SYS_tgkill, {1, 1, SIGABRT}},
      {"signal itself", SYS_tgkill, {getpid(), getpid(), SIGTERM}},
      {"abort", SYS_tgkill, {getpid(), getpid(), SIGABRT}},
      {"ptrace", SYS_ptrace, {16, getppid(), 0, 0}},
      {"read a process", SYS_process_vm_readv, {getppid(), 0, 0, 0, 0, 0}},
      {"filter", SYS_seccomp, {0, 0, 0}},
      {"prctl", SYS_prctl, {PR_SET_DUMPABLE, 1, 0, 0, 0}},
      {"limit another", SYS_prlimit64, {getppid(), 0, 0, 0}},
      {"become", SYS_setuid, {0}},
      {"ring", SYS_io_uring_setup, {1, zero}},
      {"link", SYS_linkat, {AT_FDCWD, zero, AT_FDCWD, zero, 0}},
  };
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
    if (strcmp(arguments[2], calls[i].name) != 0) continue;
    for (unsigned filter = 0; filter < 3; filter++) {
      if (strcmp(arguments[1], FILTERS[filter]) != 0) continue;
      if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 3;
      if (!edge_seccomp_install((enum edge_filter)filter, wake[0])) return 3;
      const long *a = calls[i].argument;
      (void)syscall(calls[i].number, a[0], a[1], a[2], a[3], a[4], a[5]);
      _exit(0);
    }
  }
  return 2;
}
