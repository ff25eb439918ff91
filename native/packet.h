/* Packets with a few descriptors, as both ends of the command socket send and receive them. */
#ifndef EDGE_PACKET_H
#define EDGE_PACKET_H

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

/* The descriptors of one packet at most. */
#define EDGE_PACKET_FDS_MAX 2u

/* The descriptors of EDGE_COMMAND_FORK, in this order. */
enum { EDGE_FORK_CODE = 0, EDGE_FORK_MEMORY = 1, EDGE_FORK_FDS = 2 };

/* The control data of the descriptors (SCM_RIGHTS). */
union edge_packet_control {
  char bytes[CMSG_SPACE(sizeof(int) * EDGE_PACKET_FDS_MAX)];
  struct cmsghdr align;
};

/*
 * Sends one packet, with copies of `count` descriptors; 0 or errno. `flags` are those of sendmsg: with
 * MSG_DONTWAIT a full socket is EAGAIN. The caller keeps `fds`.
 */
static inline int edge_packet_send(int socket, const void *packet, size_t bytes, const int *fds,
                                   unsigned count, int flags) {
  union edge_packet_control control = {.bytes = {0}};
  struct iovec iov = {.iov_base = (void *)(size_t)packet, .iov_len = bytes};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
  if (count > EDGE_PACKET_FDS_MAX) return EINVAL;
  if (count > 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(head), fds, sizeof(int) * count);
  }
  for (;;) {
    const ssize_t sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
    if (sent == (ssize_t)bytes) return 0;
    if (sent >= 0) return EMSGSIZE;
    if (errno != EINTR) return errno;
  }
}

/* Closes those of `count` descriptors that are open. */
static inline void edge_packet_close(const int *fds, unsigned count) {
  for (unsigned i = 0; i < count; i++)
    if (fds[i] >= 0) close(fds[i]);
}

/*
 * Receives one packet without waiting: its length, 0 when the other end is closed, -1 with errno (EAGAIN:
 * none is there). What does not fit is cut off. The caller owns the first `count` descriptors of the packet,
 * at most EDGE_PACKET_FDS_MAX, as `fds`, which are -1 where it has fewer; others are closed.
 */
static inline ssize_t edge_packet_receive(int socket, void *packet, size_t bytes, int *fds, unsigned count) {
  union edge_packet_control control;
  struct iovec iov = {.iov_base = packet, .iov_len = bytes};
  struct msghdr message = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  for (unsigned i = 0; i < count; i++)
    fds[i] = -1;
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return -1;
  const struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  if (head == NULL || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) return got;
  const size_t sent = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  for (unsigned i = 0; i < sent && i < EDGE_PACKET_FDS_MAX; i++) { /* control data has room for no more */
    int fd;
    memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
    if (i < count) {
      fds[i] = fd;
    } else {
      close(fd);
    }
  }
  return got;
}

#endif
