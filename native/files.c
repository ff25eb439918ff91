/* Answers the calls of a compile child that take a path, from a table of two files. */
#define _GNU_SOURCE
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define NAME_BYTES 64u
#define ARGUMENTS 4u

struct file {
  int fd;
  char name[NAME_BYTES]; /* empty: there is no such file */
};

enum { RESULT, OBJECT, FILES };
static struct file table[FILES];

static struct file *find(const char *path) {
  for (unsigned i = 0; i < FILES; i++)
    if (table[i].name[0] != '\0' && strcmp(table[i].name, path) == 0) return &table[i];
  return NULL;
}

static long rename_to(struct file *file, const char *name) {
  const size_t length = strnlen(name, NAME_BYTES);
  if (length == 0 || length == NAME_BYTES) return -ENAMETOOLONG;
  memmove(file->name, name, length + 1);
  return 0;
}

/* Makes the file that `path` is the name of; NULL when there is one of that kind already. */
static struct file *create(const char *path) {
  const bool is_result = strncmp(path, EDGE_FILES_RESULT, sizeof EDGE_FILES_RESULT - 1) == 0;
  struct file *made = &table[is_result ? RESULT : OBJECT];
  if (made->name[0] != '\0' || rename_to(made, path) != 0) return NULL;
  return made;
}

static long answer_open(const char *path, long flags) {
  struct file *file = find(path);
  if (file != NULL && (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return -EEXIST;
  if (file == NULL && (flags & O_CREAT) == 0) return -ENOENT;
  const bool is_emptied = file == NULL || (flags & O_TRUNC) != 0;
  if (file == NULL) file = create(path);
  if (file == NULL) return -ENOSPC;
  if (is_emptied && ftruncate(file->fd, 0) != 0) return -errno;
  if (lseek(file->fd, 0, SEEK_SET) != 0) return -errno;
  const int fd = fcntl(file->fd, F_DUPFD, 0);
  return fd >= 0 ? fd : -errno;
}

static long answer_stat(const char *path, long to) {
  const struct file *file = find(path);
  if (file == NULL) return -ENOENT;
  return syscall(SYS_fstat, file->fd, to) == 0 ? 0 : -errno;
}

/* libc asks for the facts of a descriptor in the same way. */
static long answer_stat_at(long fd, const char *path, long to, long flags) {
  if (path[0] != '\0' || (flags & AT_EMPTY_PATH) == 0) return answer_stat(path, to);
  return syscall(SYS_fstat, fd, to) == 0 ? 0 : -errno;
}

static long answer_access(const char *path) { return find(path) != NULL ? 0 : -ENOENT; }

static long answer_rename(const char *from, const char *to) {
  struct file *file = find(from), *replaced = find(to);
  if (file == NULL) return -ENOENT;
  if (replaced != NULL && replaced != file) replaced->name[0] = '\0';
  return rename_to(file, to);
}

static long answer_unlink(const char *path) {
  struct file *file = find(path);
  if (file == NULL) return -ENOENT;
  file->name[0] = '\0';
  return 0;
}

static const char *text(long argument) { return (const char *)argument; }

/* A call that has no answer here asks for something that a compile can do without. */
static long answer(int call, const long argument[ARGUMENTS]) {
  switch (call) {
  case SYS_openat:
    return answer_open(text(argument[1]), argument[2]);
  case SYS_newfstatat:
    return answer_stat_at(argument[0], text(argument[1]), argument[2], argument[3]);
  case SYS_faccessat:
  case SYS_faccessat2:
    return answer_access(text(argument[1]));
  case SYS_renameat2:
  case SYS_renameat:
    return answer_rename(text(argument[1]), text(argument[3]));
  case SYS_unlinkat:
    return answer_unlink(text(argument[1]));
#if defined(__x86_64__)
  case SYS_open:
    return answer_open(text(argument[0]), argument[1]);
  case SYS_stat:
  case SYS_lstat:
    return answer_stat(text(argument[0]), argument[1]);
  case SYS_access:
    return answer_access(text(argument[0]));
  case SYS_rename:
    return answer_rename(text(argument[0]), text(argument[1]));
  case SYS_unlink:
    return answer_unlink(text(argument[0]));
#endif
  default:
    return -ENOENT;
  }
}

/* The kernel has not run the call: the registers hold its arguments, and then its result. */
static void on_call(int number, siginfo_t *info, void *context) {
  const int kept = errno;
  mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
  (void)number;
#if defined(__x86_64__)
  const long argument[ARGUMENTS] = {machine->gregs[REG_RDI], machine->gregs[REG_RSI],
                                    machine->gregs[REG_RDX], machine->gregs[REG_R10]};
  machine->gregs[REG_RAX] = answer(info->si_syscall, argument);
#else
  const long argument[ARGUMENTS] = {(long)machine->regs[0], (long)machine->regs[1], (long)machine->regs[2],
                                    (long)machine->regs[3]};
  machine->regs[0] = (unsigned long long)answer(info->si_syscall, argument);
#endif
  errno = kept;
}

bool edge_files_open(int result_fd, int object_fd) {
  struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO};
  table[RESULT].fd = result_fd;
  table[OBJECT].fd = object_fd;
  return sigemptyset(&action.sa_mask) == 0 && sigaction(SIGSYS, &action, NULL) == 0;
}

bool edge_files_is_complete(void) { return find(EDGE_FILES_RESULT) != NULL; }
