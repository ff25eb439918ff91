/*
 * The filters of system calls: one that a filter does not allow, by number or argument, ends the process.
 *
 * It ends with SIGSYS. The few calls that libc has another way for get an error instead. A later filter can
 * only forbid more. The process must have set no_new_privs. Source: seccomp(2), and the call tables of x86-64
 * and arm64.
 */
#ifndef EDGE_SECCOMP_H
#define EDGE_SECCOMP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Where a worker has its struct edge_wake, in a page that it made read-only before its first filter. A worker
 * can send nothing else; and below 4 GiB the filters let nothing be mapped over, unmapped, protected or
 * forgotten, so that a worker that was taken over cannot send in the name of another.
 */
#define EDGE_WAKE_ADDRESS 0xf0000000u

enum edge_filter {
  EDGE_FILTER_LOAD = 0,   /* a worker that loads code: may also make memory executable and add a filter */
  EDGE_FILTER_RUN = 1,    /* a worker that runs the guest: waits, uses its heap, wakes the edge */
  EDGE_FILTER_COMPILE = 2 /* a compile: the files that it has; a call with a path becomes SIGSYS (files.h) */
};

/* `wake_fd` is the one descriptor that a worker may send on. False when the kernel refuses the filter. */
bool edge_seccomp_install(enum edge_filter filter, int wake_fd);

#endif
