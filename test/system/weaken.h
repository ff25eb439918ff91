/* Runs a command behind a filter of system calls, on a machine that so seems to lack something. */
#ifndef EDGE_WEAKEN_H
#define EDGE_WEAKEN_H

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

/*
 * The main function of `NAME COMMAND [ARGUMENT...]`: the command and all its children run behind `program`. Sets
 * no_new_privs, so that every user may do it. Returns 125 where the command could not be run.
 */
static inline int weaken(const char *name, struct sock_fprog program, int count, char **arguments) {
  if (count < 2) {
    fprintf(stderr, "usage: %s COMMAND [ARGUMENT...]\n", name);
    return 125;
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    fprintf(stderr, "%s: the filter could not be installed: %s\n", name, strerror(errno));
    return 125;
  }
  execvp(arguments[1], arguments + 1);
  fprintf(stderr, "%s: %s: %s\n", name, arguments[1], strerror(errno));
  return 125;
}

#endif
