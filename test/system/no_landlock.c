/*
 * Runs a command on a kernel that seems to have no Landlock: `no_landlock COMMAND [ARGUMENT...]`.
 *
 * A filter answers the three landlock calls with ENOSYS, in the command and in all its children.
 */
#define _GNU_SOURCE
#include "weaken.h"

int main(int count, char **arguments) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SYS_landlock_create_ruleset, 0, 2),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, SYS_landlock_restrict_self, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  return weaken("no_landlock", (struct sock_fprog){COUNT(code), code}, count, arguments);
}
