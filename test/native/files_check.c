/*
 * Uses the files of a compile child behind its filter: the argument names what it does with them.
 *
 * Exits with 0 when that went as it must; otherwise it prints the line that did not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../native/files.h"
#include "../../native/seccomp.h"

#define OBJECT "/out.0123.o"
#define TEMPORARY "/out.so.tmp01"
#define MUST(holds) \
  if (!(holds)) return dprintf(STDERR_FILENO, "line %d: %s\n", __LINE__, strerror(errno)), 1

static int kept_result;

static int missing(void) {
  struct stat facts;
  MUST(open(OBJECT, O_RDONLY) < 0 && errno == ENOENT);
  MUST(stat(OBJECT, &facts) != 0 && errno == ENOENT);
  MUST(access(EDGE_FILES_RESULT, F_OK) != 0 && errno == ENOENT);
  MUST(unlink(OBJECT) != 0 && errno == ENOENT);
  MUST(rename(TEMPORARY, EDGE_FILES_RESULT) != 0 && errno == ENOENT);
  MUST(!edge_files_is_complete());
  return 0;
}

static int result(void) {
  char byte = 0;
  struct stat facts;
  int fd = open(OBJECT, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  MUST(fd >= 0 && write(fd, "object", 6) == 6 && close(fd) == 0);
  fd = open(OBJECT, O_RDONLY);
  MUST(fd >= 0 && fstat(fd, &facts) == 0 && facts.st_size == 6);
  MUST(pread(fd, &byte, 1, 2) == 1 && byte == 'j' && read(fd, &byte, 1) == 1 && byte == 'o');
  fd = open(TEMPORARY, O_RDWR | O_CREAT | O_EXCL, 0777);
  MUST(fd >= 0 && ftruncate(fd, 4) == 0);
  char *at = mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  MUST(at != MAP_FAILED);
  memcpy(at, "done", 4);
  MUST(rename(TEMPORARY, EDGE_FILES_RESULT) == 0 && access(TEMPORARY, F_OK) != 0);
  MUST(lstat(EDGE_FILES_RESULT, &facts) == 0 && facts.st_size == 4 && edge_files_is_complete());
  MUST(unlink(OBJECT) == 0 && access(OBJECT, F_OK) != 0 && edge_files_is_complete());
  char text[4];
  MUST(pread(kept_result, text, 4, 0) == 4 && memcmp(text, "done", 4) == 0);
  return 0;
}

static int exclusive(void) {
  struct stat facts;
  const int fd = open(TEMPORARY, O_RDWR | O_CREAT | O_EXCL, 0777);
  MUST(fd >= 0 && write(fd, "text", 4) == 4);
  MUST(open(TEMPORARY, O_RDWR | O_CREAT | O_EXCL, 0777) < 0 && errno == EEXIST);
  MUST(fstat(fd, &facts) == 0 && facts.st_size == 4);
  MUST(unlink(TEMPORARY) == 0);
  MUST(open(TEMPORARY, O_RDWR | O_CREAT | O_EXCL, 0777) >= 0);
  MUST(fstat(fd, &facts) == 0 && facts.st_size == 0);
  return 0;
}

static int third(void) {
  MUST(open(OBJECT, O_WRONLY | O_CREAT, 0666) >= 0);
  MUST(open("/other", O_WRONLY | O_CREAT, 0666) < 0 && errno == ENOSPC);
  MUST(open(TEMPORARY, O_WRONLY | O_CREAT, 0666) >= 0);
  MUST(open(EDGE_FILES_RESULT, O_WRONLY | O_CREAT, 0666) < 0 && errno == ENOSPC);
  return 0;
}

static int outside(void) {
  struct stat facts;
  char text[8];
  MUST(open("/etc/passwd", O_RDONLY) < 0 && errno == ENOENT);
  MUST(open("/", O_RDONLY | O_DIRECTORY) < 0 && errno == ENOENT);
  MUST(stat("/etc/passwd", &facts) != 0 && errno == ENOENT);
  MUST(access("/etc/passwd", F_OK) != 0 && errno == ENOENT);
  MUST(unlink("/etc/passwd") != 0 && errno == ENOENT);
  MUST(rename("/etc/passwd", EDGE_FILES_RESULT) != 0 && errno == ENOENT);
  MUST(readlink("/proc/self/exe", text, sizeof text) < 0 && errno == ENOENT);
  MUST(fstat(kept_result, &facts) == 0 && S_ISREG(facts.st_mode));
  return 0;
}

static int long_name(void) {
  static char name[256] = "/";
  memset(name + 1, 'x', sizeof name - 2);
  MUST(open(name, O_WRONLY | O_CREAT, 0666) < 0 && errno == ENOSPC);
  MUST(open(OBJECT, O_WRONLY | O_CREAT, 0666) >= 0);
  MUST(rename(OBJECT, name) != 0 && errno == ENAMETOOLONG && access(OBJECT, F_OK) == 0);
  return 0;
}

static int unnamed(void) {
  MUST(open(TEMPORARY, O_RDWR | O_CREAT | O_EXCL, 0777) >= 0);
  MUST(!edge_files_is_complete());
  return 0;
}

static int handlers(void) {
  MUST(signal(SIGSYS, SIG_DFL) != SIG_ERR);
  return missing();
}

static int try_link(void) { return link(OBJECT, "/linked"); }

static const struct work {
  const char *name;
  int (*run)(void);
} WORKS[] = {{"missing", missing}, {"result", result},   {"exclusive", exclusive}, {"third", third},
             {"outside", outside}, {"long", long_name},  {"unnamed", unnamed},     {"handlers", handlers},
             {"link", try_link}};

int main(int count, char **arguments) {
  kept_result = memfd_create("result", 0);
  const int object = memfd_create("object", 0);
  if (count != 2 || kept_result < 0 || object < 0) return 254;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 253;
  if (!edge_files_open(kept_result, object) || !edge_seccomp_install(EDGE_FILTER_COMPILE, -1)) return 253;
  for (size_t i = 0; i < sizeof WORKS / sizeof WORKS[0]; i++)
    if (strcmp(WORKS[i].name, arguments[1]) == 0) _exit(WORKS[i].run());
  return 252;
}
