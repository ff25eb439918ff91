/*
 * Enters the sandbox as a worker or a compile child does, and tries one thing.
 *
 * The arguments are the kind, the directory and the thing; exit code 0 means that the thing was allowed, else
 * the exit code is errno. Runs as an unprivileged user, because root also gets a root directory of its own.
 * With the arguments `open` and a capability, it drops that capability as root, opens the sandbox as the
 * zygote does, prints what is missing to stderr, and enters the sandbox as a worker.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../native/sandbox.h"

static int open_path(const char *path, int flags) {
  const int fd = open(path, flags | O_CLOEXEC, 0600);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

static int attempt(const char *what) {
  if (strcmp(what, "nothing") == 0) return 0;
  if (strcmp(what, "read inside") == 0) return open_path("given", O_RDONLY);
  if (strcmp(what, "write inside") == 0) return open_path("made", O_WRONLY | O_CREAT | O_TRUNC);
  if (strcmp(what, "read outside") == 0) return open_path("../outside", O_RDONLY);
  if (strcmp(what, "read system") == 0) return open_path("/etc/passwd", O_RDONLY);
  if (strcmp(what, "list") == 0) return open_path("/", O_RDONLY | O_DIRECTORY);
  if (strcmp(what, "write outside") == 0) return open_path("../made", O_WRONLY | O_CREAT);
  if (strcmp(what, "remove outside") == 0) return unlink("../outside") == 0 ? 0 : errno;
  if (strcmp(what, "move out") == 0) return rename("given", "../given") == 0 ? 0 : errno;
  return 255;
}

static int capability_drop(unsigned capability) {
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &head, data) != 0) return -1;
  data[capability / 32].effective &= ~(1u << capability % 32);
  data[capability / 32].permitted &= ~(1u << capability % 32);
  return (int)syscall(SYS_capset, &head, data);
}

static int open_without(const char *capability) {
  const struct edge_sandbox sandbox = {.data_bytes = 64u << 20,
                                       .stack_bytes = 8u << 20,
                                       .files = 64,
                                       .parent = getppid(),
                                       .name = "sandbox-check"};
  struct edge_weaknesses found;
  if (strcmp(capability, "setuid") == 0 && capability_drop(CAP_SETUID) != 0) return 253;
  if (strcmp(capability, "kill") == 0 && capability_drop(CAP_KILL) != 0) return 253;
  if (strcmp(capability, "sys_admin") == 0 && capability_drop(CAP_SYS_ADMIN) != 0) return 253;
  const int error = edge_sandbox_open(&found);
  for (uint32_t i = 0; i < found.count; i++)
    fprintf(stderr, "%s: %s\n", found.list[i].missing, strerror(found.list[i].error));
  if (error != 0) return error;
  return edge_sandbox_enter(&sandbox) ? 0 : 251;
}

int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "version") == 0) {
    const long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version < 1 ? 1 : 0;
  }
  if (count == 3 && strcmp(arguments[1], "open") == 0) return open_without(arguments[2]);
  if (count != 4) return 254;
  if (geteuid() == 0 && setresgid(65534, 65534, 65534) != 0) return 253;
  if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) return 253;
  const int is_compile = strcmp(arguments[1], "compile") == 0;
  if (chdir(arguments[2]) != 0) return 252;
  const struct edge_sandbox sandbox = {.data_bytes = 64u << 20,
                                       .stack_bytes = 8u << 20,
                                       .file_bytes = 1u << 20,
                                       .files = 64,
                                       .parent = getppid(),
                                       .name = "sandbox-check",
                                       .directory = is_compile ? arguments[2] : NULL};
  if (!edge_sandbox_enter(&sandbox)) return 251;
  return attempt(arguments[3]);
}
