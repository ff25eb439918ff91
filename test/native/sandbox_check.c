/*
 * Enters the sandbox as a child does, and tries one thing.
 *
 * The arguments are `try`, the working directory and the thing; exit code 0 means that the thing was allowed,
 * else the exit code is errno. Runs as an unprivileged user, as a neighbour does that it may reach. With
 * `apart`, it forks a child into a process namespace and exits with 0 if that child is its first process; with
 * `orphan` and `heir`, if that child notices that its parent has ended, and if it ends with its parent.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../native/namespace.h"
#include "../../native/sandbox.h"

static int open_path(const char *path, int flags) {
  const int fd = open(path, flags | O_CLOEXEC, 0600);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

/* A process of the same user outside of the sandbox, which ends after this one. */
static pid_t neighbour_start(void) {
  int ends[2];
  char byte;
  if (pipe(ends) != 0) return -1;
  const pid_t pid = fork();
  if (pid == 0) {
    close(ends[1]);
    (void)!read(ends[0], &byte, 1);
    _exit(0);
  }
  return pid;
}

static const struct sockaddr_un ABSTRACT = {.sun_family = AF_UNIX, .sun_path = "\0edge-sandbox-check"};

static int abstract_listen(void) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  const struct sockaddr *address = (const struct sockaddr *)&ABSTRACT;
  return bind(fd, address, sizeof ABSTRACT) == 0 && listen(fd, 1) == 0 ? 0 : errno;
}

static int abstract_connect(void) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  return connect(fd, (const struct sockaddr *)&ABSTRACT, sizeof ABSTRACT) == 0 ? 0 : errno;
}

/* A descriptor whose owner gets a signal, as soon as its other end is written to. */
static int signal_by_descriptor(pid_t neighbour) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || fcntl(pair[0], F_SETOWN, neighbour) != 0 ||
      fcntl(pair[0], F_SETSIG, SIGKILL) != 0 || fcntl(pair[0], F_SETFL, O_ASYNC) != 0)
    return 250;
  (void)!write(pair[1], "", 1);
  return waitpid(neighbour, NULL, WNOHANG) == neighbour ? 0 : EPERM;
}

static int attempt(const char *what, pid_t neighbour) {
  if (strcmp(what, "nothing") == 0) return 0;
  if (strcmp(what, "read inside") == 0) return open_path("given", O_RDONLY);
  if (strcmp(what, "write inside") == 0) return open_path("made", O_WRONLY | O_CREAT | O_TRUNC);
  if (strcmp(what, "read outside") == 0) return open_path("../outside", O_RDONLY);
  if (strcmp(what, "read system") == 0) return open_path("/etc/passwd", O_RDONLY);
  if (strcmp(what, "list") == 0) return open_path("/", O_RDONLY | O_DIRECTORY);
  if (strcmp(what, "remove outside") == 0) return unlink("../outside") == 0 ? 0 : errno;
  if (strcmp(what, "move out") == 0) return rename("given", "../given") == 0 ? 0 : errno;
  if (strcmp(what, "signal") == 0) return kill(neighbour, SIGTERM) == 0 ? 0 : errno;
  if (strcmp(what, "signal by descriptor") == 0) return signal_by_descriptor(neighbour);
  if (strcmp(what, "signal itself") == 0) return kill(getpid(), 0) == 0 ? 0 : errno;
  if (strcmp(what, "connect") == 0) return abstract_connect();
  return 255;
}

static int try_apart(void) {
  struct edge_namespace made;
  int status = 0;
  const int error = edge_namespace_open(&made);
  if (error != 0) return error;
  const pid_t pid = edge_namespace_fork(&made);
  if (pid == 0) _exit(getpid() == 1 && getppid() == 0 && !edge_namespace_is_orphan(made.parent_fd) ? 0 : 1);
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 250;
}

/* The child in its namespace, whose parent ends; what it writes to `told` is read by the test's process. */
_Noreturn static void child_left(const struct edge_namespace *made, bool is_heir, int told) {
  if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(253);
  if (is_heir && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) _exit(253);
  while (!is_heir && !edge_namespace_is_orphan(made->parent_fd))
    (void)sched_yield();
  (void)!write(told, "", 1);
  while (is_heir)
    pause();
  _exit(0);
}

/* Reads one byte from the child, and then the end of file that its end brings. */
static int try_left(bool is_heir) {
  struct edge_namespace made;
  int told[2];
  char byte;
  if (pipe(told) != 0) return 250;
  const pid_t parent = fork();
  if (parent == 0) {
    const int error = edge_namespace_open(&made);
    if (error != 0) _exit(error);
    if (edge_namespace_fork(&made) == 0) child_left(&made, is_heir, told[1]);
    if (is_heir && read(told[0], &byte, 1) != 1) _exit(250);
    if (is_heir) (void)!write(told[1], "", 1);
    _exit(0);
  }
  int status = 0;
  close(told[1]);
  if (waitpid(parent, &status, 0) != parent || WEXITSTATUS(status) != 0) return WEXITSTATUS(status);
  return read(told[0], &byte, 1) == 1 && read(told[0], &byte, 1) == 0 ? 0 : 249;
}

int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "version") == 0) {
    const long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version < 1 ? 0 : (int)version;
  }
  if (count == 2 && strcmp(arguments[1], "apart") == 0) return try_apart();
  if (count == 2 && strcmp(arguments[1], "orphan") == 0) return try_left(false);
  if (count == 2 && strcmp(arguments[1], "heir") == 0) return try_left(true);
  if (count != 4) return 254;
  if (geteuid() == 0 && setresgid(65534, 65534, 65534) != 0) return 253;
  if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) return 253;
  if (chdir(arguments[2]) != 0) return 252;
  const struct edge_sandbox sandbox = {.data_bytes = 64u << 20,
                                       .stack_bytes = 8u << 20,
                                       .file_bytes = 1u << 20,
                                       .files = 64,
                                       .parent = getppid(),
                                       .name = "sandbox-check"};
  const pid_t neighbour = neighbour_start();
  if (neighbour < 0 || abstract_listen() != 0) return 249;
  if (!edge_sandbox_enter(&sandbox)) return 251;
  return attempt(arguments[3], neighbour);
}
