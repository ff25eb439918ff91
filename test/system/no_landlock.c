/*
 * Runs a command on a kernel that seems to have no Landlock: `no_landlock COMMAND [ARGUMENT...]`.
 *
 * A filter answers the three landlock calls with ENOSYS, in the command and in all its children. It sets
 * no_new_privs, so that every user may install it. Exit code 125: it could not run the command.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static int filter_install(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SYS_landlock_create_ruleset, 0, 2),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, SYS_landlock_restrict_self, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = {.len = COUNT(code), .filter = code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int main(int count, char **arguments) {
  if (count < 2) {
    fprintf(stderr, "usage: no_landlock COMMAND [ARGUMENT...]\n");
    return 125;
  }
  if (filter_install() != 0) {
    fprintf(stderr, "no_landlock: the filter could not be installed: %s\n", strerror(errno));
    return 125;
  }
  execvp(arguments[1], arguments + 1);
  fprintf(stderr, "no_landlock: %s: %s\n", arguments[1], strerror(errno));
  return 125;
}
