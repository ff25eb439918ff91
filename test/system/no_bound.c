/*
 * Runs a command on a kernel that only seems to bound its memory: `no_bound COMMAND [ARGUMENT...]`.
 *
 * A filter answers every change of RLIMIT_DATA as if it were done, in the command and in all its children. It
 * sets no_new_privs, so that every user may install it. Exit code 125: it could not run the command.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])
#define NUMBER offsetof(struct seccomp_data, nr)
#define ARGUMENT(index) (offsetof(struct seccomp_data, args) + (index) * 8u)

/* prlimit64 changes a limit where its third argument, of which the low half will do, is not NULL. */
static int filter_install(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NUMBER),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setrlimit, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(0)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RLIMIT_DATA, 5, 6),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prlimit64, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(1)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RLIMIT_DATA, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(2)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = {.len = COUNT(code), .filter = code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int main(int count, char **arguments) {
  if (count < 2) {
    fprintf(stderr, "usage: no_bound COMMAND [ARGUMENT...]\n");
    return 125;
  }
  if (filter_install() != 0) {
    fprintf(stderr, "no_bound: the filter could not be installed: %s\n", strerror(errno));
    return 125;
  }
  execvp(arguments[1], arguments + 1);
  fprintf(stderr, "no_bound: %s: %s\n", arguments[1], strerror(errno));
  return 125;
}
