/* The zygote: one loop that forks workers and compiles, kills them on command, and reports how they end. */
#define _GNU_SOURCE
#include "engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "compile.h"
#include "geometry.h"
#include "layout.h"
#include "library.h"
#include "namespace.h"
#include "packet.h"
#include "sandbox.h"
#include "wall.h"
#include "warm.h"
#include "worker.h"

/* How long the edge may take to read a report for which no guest may run. */
#define REFUSED_MS 10000

struct zygote {
  struct edge_geometry geometry;
  struct edge_children children;
  struct edge_namespace apart; /* of compile children */
  int command_fd, null_fd, signal_fd, event_fd, wake_fd;
  pid_t pid;
};

const char *edge_engine_wasmedge_version(void) { return WasmEdge_VersionGet(); }

static uint32_t threads_now(void) {
  uint32_t count = 0;
  DIR *list = opendir("/proc/self/task");
  if (list == NULL) return 0;
  for (const struct dirent *entry; (entry = readdir(list)) != NULL;)
    count += entry->d_name[0] != '.';
  closedir(list);
  return count;
}

/* Connects to the edge's socket and sends the preface; the descriptor, or -errno. */
static int connect_edge(const char *path, enum edge_preface preface) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const uint8_t first = (uint8_t)preface;
  const size_t length = strlen(path);
  if (length >= sizeof address.sun_path) return -ENAMETOOLONG;
  memcpy(address.sun_path, path, length + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
      send(fd, &first, 1, MSG_NOSIGNAL) != 1) {
    const int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

/* False when the edge is gone. */
static bool report(const struct zygote *zygote, const struct edge_event *event) {
  const uint8_t *at = (const uint8_t *)event;
  for (size_t done = 0; done < sizeof *event;) {
    const ssize_t sent = send(zygote->event_fd, at + done, sizeof *event - done, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    done += (size_t)sent;
  }
  return true;
}

/*
 * Sends the edge the pidfd of a child; false when the edge is gone. Waits for room, which there is: the edge
 * takes what came before the STARTED events that it reads.
 */
static bool hand_over(const struct zygote *zygote, const struct edge_command *command, pid_t pid) {
  const struct edge_handle handle = {command->kind, command->slot, command->generation};
  const int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  int error = edge_packet_send(zygote->command_fd, &handle, sizeof handle, &fd, fd >= 0, 0);
  /* Too many descriptors are under way: the edge kills this child by command. */
  if (error == ETOOMANYREFS) error = edge_packet_send(zygote->command_fd, &handle, sizeof handle, NULL, 0, 0);
  if (fd >= 0) close(fd);
  return error == 0;
}

static uint32_t milliseconds(struct timeval time) {
  return (uint32_t)(time.tv_sec * 1000 + time.tv_usec / 1000);
}

static bool report_end(const struct zygote *zygote, const struct edge_child_end *end) {
  const bool is_compile = end->child.kind == EDGE_CHILD_COMPILE;
  const bool killed = WIFSIGNALED(end->status);
  struct edge_event event = {
      .kind = is_compile ? EDGE_EVENT_COMPILED : EDGE_EVENT_EXITED,
      .slot = end->child.slot,
      .generation = end->child.generation,
      .pid = (uint32_t)end->child.pid,
      .how = killed ? EDGE_HOW_SIGNALLED : EDGE_HOW_EXITED,
      .value = (uint32_t)(killed ? WTERMSIG(end->status) : WEXITSTATUS(end->status)),
      .max_rss_kb = (uint32_t)end->usage.ru_maxrss,
      .cpu_ms = milliseconds(end->usage.ru_utime) + milliseconds(end->usage.ru_stime),
  };
  if (is_compile) {
    const bool complete = event.how == EDGE_HOW_EXITED && event.value == EDGE_COMPILE_DONE;
    if (!edge_compile_collect(end->child.path, complete) && complete) event.value = EDGE_COMPILE_IO;
  }
  return report(zygote, &event);
}

static bool report_fork_failed(const struct zygote *zygote, enum edge_event_kind kind,
                               const struct edge_command *command, int error) {
  const struct edge_event event = {.kind = (uint32_t)kind,
                                   .slot = command->slot,
                                   .generation = command->generation,
                                   .how = EDGE_HOW_NOT_FORKED,
                                   .value = (uint32_t)error};
  return report(zygote, &event);
}

static bool fork_worker(struct zygote *zygote, const struct edge_command *command, const int *fds) {
  struct edge_child *child = edge_children_place(&zygote->children);
  if (child == NULL || command->slot >= zygote->geometry.slots || fds[EDGE_FORK_MEMORY] < 0) {
    return report_fork_failed(zygote, EDGE_EVENT_EXITED, command, child == NULL ? EAGAIN : EINVAL);
  }
  const pid_t pid = fork();
  if (pid < 0) return report_fork_failed(zygote, EDGE_EVENT_EXITED, command, errno);
  if (pid == 0) {
    const struct edge_worker worker = {.geometry = &zygote->geometry,
                                       .slot = command->slot,
                                       .generation = command->generation,
                                       .null_fd = zygote->null_fd,
                                       .wake_fd = zygote->wake_fd,
                                       .memory_fd = fds[EDGE_FORK_MEMORY],
                                       .code_fd = fds[EDGE_FORK_CODE],
                                       .parent = zygote->pid};
    edge_worker_run(&worker);
  }
  child->pid = pid;
  child->kind = EDGE_CHILD_WORKER;
  child->slot = command->slot;
  child->generation = command->generation;
  const struct edge_event event = {.kind = EDGE_EVENT_STARTED,
                                   .slot = command->slot,
                                   .generation = command->generation,
                                   .pid = (uint32_t)pid};
  return hand_over(zygote, command, pid) && report(zygote, &event);
}

static bool fork_compile(struct zygote *zygote, const struct edge_command *command, int module_fd) {
  struct edge_child *child = edge_children_place(&zygote->children);
  const uint32_t length = command->path_len;
  if (child == NULL || length == 0 || length >= EDGE_PATH_MAX || command->path[0] != '/' || module_fd < 0 ||
      memchr(command->path, '\0', length) != NULL) {
    return report_fork_failed(zygote, EDGE_EVENT_COMPILED, command, child == NULL ? EAGAIN : EINVAL);
  }
  memcpy(child->path, command->path, length);
  child->path[length] = '\0';
  const struct edge_compile compile = {.apart = &zygote->apart,
                                       .null_fd = zygote->null_fd,
                                       .module_fd = module_fd,
                                       .path = child->path,
                                       .memory_bytes = command->memory_bytes,
                                       .cpu_seconds = command->cpu_seconds,
                                       .parent = zygote->pid};
  const pid_t pid = edge_compile_fork(&compile);
  if (pid < 0) return report_fork_failed(zygote, EDGE_EVENT_COMPILED, command, -pid);
  child->pid = pid;
  child->kind = EDGE_CHILD_COMPILE;
  child->slot = command->slot;
  child->generation = 0;
  return hand_over(zygote, command, pid);
}

/* Receives one command: 1, or 0 when none is there, or -1 when the edge has closed or broken the protocol. */
static int receive(const struct zygote *zygote, struct edge_command *command, int *fds) {
  const ssize_t got =
      edge_packet_receive(zygote->command_fd, command, sizeof *command, fds, EDGE_PACKET_FDS_MAX);
  if (got < 0) return errno == EAGAIN ? 0 : -1;
  return got == (ssize_t)sizeof *command ? 1 : -1;
}

/* False when the zygote must stop: the edge is gone or broke the protocol, or a child cannot be killed. */
static bool obey(struct zygote *zygote, const struct edge_command *command, const int *fds) {
  switch (command->kind) {
  case EDGE_COMMAND_FORK:
    return fork_worker(zygote, command, fds);
  case EDGE_COMMAND_KILL:
    return edge_children_kill(&zygote->children, EDGE_CHILD_WORKER, command->slot, command->generation);
  case EDGE_COMMAND_COMPILE:
    return fork_compile(zygote, command, fds[0]);
  case EDGE_COMMAND_CANCEL:
    return edge_children_kill(&zygote->children, EDGE_CHILD_COMPILE, command->slot, 0);
  case EDGE_COMMAND_PING:
    return report(zygote, &(struct edge_event){.kind = EDGE_EVENT_PONG});
  default:
    return false;
  }
}

/* Serves until the edge is gone, or until the zygote must stop. */
static void serve(struct zygote *zygote) {
  struct pollfd watched[2] = {{.fd = zygote->command_fd, .events = POLLIN},
                              {.fd = zygote->signal_fd, .events = POLLIN}};
  struct signalfd_siginfo info;
  struct edge_child_end end;
  struct edge_command command;
  for (;;) {
    if (poll(watched, 2, -1) < 0 && errno != EINTR) return;
    if ((watched[1].revents & POLLIN) != 0) {
      (void)!read(zygote->signal_fd, &info, sizeof info); /* empties it; wait4 names the children */
      while (edge_children_reap(&zygote->children, WNOHANG, &end)) {
        if (!report_end(zygote, &end)) return;
      }
    }
    if (watched[0].revents == 0) continue;
    int fds[EDGE_PACKET_FDS_MAX];
    const int got = receive(zygote, &command, fds);
    const bool going = got >= 0 && (got == 0 || obey(zygote, &command, fds));
    edge_packet_close(fds, EDGE_PACKET_FDS_MAX);
    if (!going) return;
  }
}

/* Opens the descriptors of the zygote and blocks its signals; 0 or -errno. */
static int open_zygote(struct zygote *zygote, const char *socket_path) {
  sigset_t all, child;
  zygote->pid = getpid();
  zygote->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (zygote->null_fd < 0) return -errno;
  sigfillset(&all);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  if (sigprocmask(SIG_SETMASK, &all, NULL) != 0) return -errno;
  zygote->signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  if (zygote->signal_fd < 0) return -errno;
  zygote->event_fd = connect_edge(socket_path, EDGE_PREFACE_EVENTS);
  if (zygote->event_fd < 0) return zygote->event_fd;
  zygote->wake_fd = connect_edge(socket_path, EDGE_PREFACE_WAKES);
  if (zygote->wake_fd < 0) return zygote->wake_fd;
  /*
   * A terminal's interrupt is for the edge, which then ends its children in order. setsid fails only for the
   * leader of a process group, which a terminal does not interrupt together with the edge.
   */
  (void)setsid();
  (void)prctl(PR_SET_NAME, "edge-zygote", 0, 0, 0); /* only the process list shows it */
  return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 ? 0 : -errno;
}

/* Says in one line on stderr, which the edge logs, why this process does not serve; gives the status. */
static int32_t refuse(const char *reason, int error) {
  dprintf(STDERR_FILENO, "the engine cannot serve: %s: %s\n", reason, strerror(error));
  return -error;
}

/* Reports each part of the wall; false when the edge is gone. */
static bool report_wall(const struct zygote *zygote, const struct edge_wall *wall) {
  for (uint32_t part = 0; part < EDGE_WALL_PARTS; part++) {
    const struct edge_wall_finding *found = &wall->part[part];
    const struct edge_event event = {
        .kind = EDGE_EVENT_WALL, .slot = part, .how = found->state, .value = found->reason};
    if (!report(zygote, &event)) return false;
  }
  return true;
}

/*
 * Enters the zygote's part of the sandbox, tries the wall around its children, and reports it. Returns 0, or
 * -errno when no guest may run.
 */
static int32_t open_wall(struct zygote *zygote, bool allows_weak) {
  struct edge_sandbox_opened opened;
  struct edge_wall wall;
  struct edge_wall_trial trial = {.opened = &opened, .apart = &zygote->apart};
  edge_wall_namespaces_read(&trial.edge);
  const int unforked = edge_sandbox_open(&opened);
  if (unforked != 0) return refuse("a child could not be forked", unforked);
  trial.not_apart = edge_namespace_open(&zygote->apart);
  const int failed = edge_wall_try(&trial, &wall);
  if (failed != 0) return refuse("a child could not be forked, enter its sandbox, and be killed", failed);
  if (!report_wall(zygote, &wall)) return refuse("the edge is gone", EPIPE);
  if (edge_wall_holds(&wall) || allows_weak) return 0;
  /* The edge reads the report and then ends this process, which by itself ends only later. */
  struct pollfd edge = {.fd = zygote->command_fd, .events = POLLIN};
  while (poll(&edge, 1, REFUSED_MS) < 0 && errno == EINTR)
    continue;
  return refuse("a necessary part of the wall around guests is missing; `edge doctor` says which", EACCES);
}

static int32_t refuse_layout(uint32_t edge_version) {
  dprintf(STDERR_FILENO,
          "the engine cannot serve: the edge has ring layout %u, libedge_engine.so has %u; "
          "rebuild both with `bun build.ts`\n",
          edge_version, EDGE_LAYOUT_VERSION);
  return -EPROTO;
}

int32_t edge_engine_serve(uint32_t layout_version, int32_t command_fd, const void *socket_path,
                          uint32_t slots, uint32_t request_head_bytes, uint32_t request_body_bytes,
                          uint32_t response_head_bytes, uint32_t response_body_bytes, uint32_t log_bytes,
                          uint32_t allow_weak_walls) {
  const uint32_t bytes[EDGE_PARTS] = {log_bytes, response_head_bytes, request_head_bytes, request_body_bytes,
                                      response_body_bytes};
  static struct zygote zygote; /* the table of children is too large for a stack */
  if (layout_version != EDGE_LAYOUT_VERSION) return refuse_layout(layout_version);
  zygote.command_fd = command_fd;
  if (!edge_geometry_fill(&zygote.geometry, slots, bytes)) return refuse("the sizes of the ring", EINVAL);
  const int error = open_zygote(&zygote, socket_path);
  if (error < 0) return refuse("its descriptors and sockets", -error);
  const int32_t refused = open_wall(&zygote, allow_weak_walls != 0);
  if (refused != 0) return refused;
  edge_warm();
  if (!edge_sandbox_signals()) return refuse("the signal handlers of its children", errno);
  const struct edge_event event = {
      .kind = EDGE_EVENT_OPEN, .pid = (uint32_t)zygote.pid, .value = threads_now()};
  if (report(&zygote, &event)) serve(&zygote);
  if (!edge_children_kill_all(&zygote.children)) return refuse("a child that could not be killed", EPERM);
  for (struct edge_child_end end; edge_children_reap(&zygote.children, 0, &end);) {
    if (end.child.kind == EDGE_CHILD_COMPILE) (void)edge_compile_collect(end.child.path, false);
  }
  return 0;
}
