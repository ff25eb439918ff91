/* Stops listening sockets of this process, whose owner only knows how to close their connections too. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ring_private.h"

/* Whether `fd` is a socket that takes TCP connections on `port`. */
static bool is_listening(int fd, uint32_t port) {
  int listening = 0;
  socklen_t length = sizeof listening;
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } address;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) != 0 || listening == 0) return false;
  length = sizeof address;
  if (getsockname(fd, &address.any, &length) != 0) return false;
  if (address.any.sa_family == AF_INET) return ntohs(address.v4.sin_port) == port;
  return address.any.sa_family == AF_INET6 && ntohs(address.v6.sin6_port) == port;
}

int32_t edge_listener_stop(uint32_t port) {
  int32_t stopped = 0;
  const int idle = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  DIR *list = opendir("/proc/self/fd");
  if (idle < 0 || list == NULL) {
    edge_ring_fail(errno);
    stopped = -1;
  }
  for (const struct dirent *entry; stopped >= 0 && (entry = readdir(list)) != NULL;) {
    const int fd = atoi(entry->d_name);
    if (fd > STDERR_FILENO && is_listening(fd, port) && dup3(idle, fd, O_CLOEXEC) == fd) stopped++;
  }
  if (list != NULL) closedir(list);
  if (idle >= 0) close(idle);
  return stopped;
}
