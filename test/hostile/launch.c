/* Runs a program as another user, or on a machine without Landlock: the cells of the matrix. */
/*
 * The environment says how: LAUNCH_PROGRAM is the program, which gets the arguments; LAUNCH_USER is the
 * number of the user and group that it becomes; with LAUNCH_WITHOUT_LANDLOCK the calls of Landlock fail as
 * those of a kernel without it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LANDLOCK_FIRST 444u
#define LANDLOCK_LAST 446u

static int landlock_hide(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, LANDLOCK_FIRST, 0, 2),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LANDLOCK_LAST, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
  /* Root needs no promise, and keeps every right that it would have. */
  if (geteuid() != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int main(int count, char **arguments) {
  (void)count;
  const char *program = getenv("LAUNCH_PROGRAM"), *user = getenv("LAUNCH_USER");
  const int hides = getenv("LAUNCH_WITHOUT_LANDLOCK") != NULL;
  if (program == NULL) return 120;
  if (hides && landlock_hide() != 0) return perror("seccomp"), 121;
  if (user != NULL) {
    const unsigned id = (unsigned)strtoul(user, NULL, 10);
    if (setgroups(0, NULL) != 0 || setresgid(id, id, id) != 0 || setresuid(id, id, id) != 0)
      return perror("another user"), 122;
  }
  arguments[0] = (char *)program;
  (void)unsetenv("LAUNCH_USER");
  (void)unsetenv("LAUNCH_WITHOUT_LANDLOCK");
  execv(program, arguments);
  return perror(program), 123;
}
