/*
 * Plants weaknesses in the kernel that this process sees, then tries its wall as the zygote does.
 *
 * The arguments are the names of weaknesses, one of seccomp last: the others are planted with it. Prints one
 * line `part state reason` with numbers for each part; the exit code is the errno for which no worker may
 * start. A weakness is a system call that fails, or that seems to succeed and does nothing, or a capability
 * that root has lost.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../native/wall.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])
#define RESERVED_BYTES (1ul << 30)
#define ANY (-1)

/* Answers `call` with `error`, where 0 pretends that it was done; with `argument`, only for this `value`. */
struct answer {
  const char *name;
  unsigned call;
  int argument;
  unsigned value;
  unsigned error;
};

static const struct answer ANSWERS[] = {
    {"no seccomp", SYS_seccomp, ANY, 0, EINVAL},
    {"pretended seccomp", SYS_seccomp, ANY, 0, 0},
    {"no landlock", SYS_landlock_create_ruleset, ANY, 0, ENOSYS},
    {"pretended landlock", SYS_landlock_restrict_self, ANY, 0, 0},
    {"no process namespace", SYS_clone, 0, CLONE_NEWPID | SIGCHLD, EPERM},
    {"no process namespace", SYS_clone, 0, CLONE_NEWPID | CLONE_NEWUSER | SIGCHLD, EPERM},
    {"pretended namespaces", SYS_unshare, ANY, 0, 0},
    {"no user", SYS_setresuid, ANY, 0, EINVAL},
    {"pretended user", SYS_setresuid, ANY, 0, 0},
    {"pretended capset", SYS_capset, ANY, 0, 0},
    {"pretended bounding set", SYS_prctl, 0, PR_CAPBSET_DROP, 0},
    {"pretended no_new_privs", SYS_prctl, 0, PR_SET_NO_NEW_PRIVS, 0},
    {"pretended dumpable", SYS_prctl, 0, PR_SET_DUMPABLE, 0},
    {"pretended data limit", SYS_setrlimit, 0, RLIMIT_DATA, 0},
    {"pretended data limit", SYS_prlimit64, 1, RLIMIT_DATA, 0},
    {"pretended munmap", SYS_munmap, 1, RESERVED_BYTES, 0},
    {"no score", SYS_write, 2, sizeof "800" - 1, EACCES},
    {"refused limits", SYS_prlimit64, 1, RLIMIT_CORE, EPERM},
    {"refused limits", SYS_setrlimit, 0, RLIMIT_CORE, EPERM},
};

static const struct {
  const char *name;
  unsigned capability;
} LOST[] = {{"no CAP_SETGID", CAP_SETGID}, {"no CAP_SETUID", CAP_SETUID}, {"no CAP_KILL", CAP_KILL}};

static int answer_plant(const struct answer *answer) {
  const unsigned low = (unsigned)(offsetof(struct seccomp_data, args) + 8u * (unsigned)answer->argument);
  const struct sock_filter for_argument[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, answer->call, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, answer->value, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | answer->error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_filter for_call[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, answer->call, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | answer->error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_filter code[COUNT(for_argument)];
  const bool is_for_call = answer->argument == ANY;
  memcpy(code, is_for_call ? for_call : for_argument, is_for_call ? sizeof for_call : sizeof for_argument);
  const struct sock_fprog program = {.len = is_for_call ? COUNT(for_call) : COUNT(for_argument),
                                     .filter = code};
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static int capability_drop(unsigned capability) {
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
  if (syscall(SYS_capget, &head, data) != 0) return -1;
  data[capability / 32].effective &= ~(1u << capability % 32);
  data[capability / 32].permitted &= ~(1u << capability % 32);
  return (int)syscall(SYS_capset, &head, data);
}

/* False for a name that is not known, or a weakness that cannot be planted. */
static bool plant(const char *name) {
  bool is_known = false;
  for (size_t i = 0; i < COUNT(LOST); i++) {
    if (strcmp(LOST[i].name, name) != 0) continue;
    if (capability_drop(LOST[i].capability) != 0) return false;
    is_known = true;
  }
  for (size_t i = 0; i < COUNT(ANSWERS); i++) {
    if (strcmp(ANSWERS[i].name, name) != 0) continue;
    if (answer_plant(&ANSWERS[i]) != 0) return false;
    is_known = true;
  }
  return is_known;
}

int main(int count, char **arguments) {
  struct edge_sandbox_opened opened;
  struct edge_wall wall;
  struct edge_namespace apart;
  struct edge_wall_trial trial = {.opened = &opened, .apart = &apart};
  /* Stands for what the JavaScript engine reserves. */
  if (mmap(NULL, RESERVED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) ==
      MAP_FAILED)
    return 253;
  if (geteuid() != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 253;
  edge_wall_namespaces_read(&trial.edge);
  for (int i = 1; i < count; i++) {
    if (plant(arguments[i])) continue;
    fprintf(stderr, "%s: %s\n", arguments[i], strerror(errno));
    return 252;
  }
  if (edge_sandbox_open(&opened) != 0) return 251;
  trial.not_apart = edge_namespace_open(&apart);
  const int error = edge_wall_try(&trial, &wall);
  if (error != 0) return error;
  for (uint32_t part = 0; part < EDGE_WALL_PARTS; part++)
    printf("%u %u %u\n", part, wall.part[part].state, wall.part[part].reason);
  printf("%s\n", edge_wall_holds(&wall) ? "holds" : "weak");
  return 0;
}
