/* Packets with at most one descriptor, as both ends of the command socket send and receive them. */
#ifndef EDGE_PACKET_H
#define EDGE_PACKET_H

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

/* The control data of one descriptor (SCM_RIGHTS). */
union edge_packet_control {
  char bytes[CMSG_SPACE(sizeof(int))];
  struct cmsghdr align;
};

/*
 * Sends one packet, with a copy of `fd` unless that is negative; 0 or errno. `flags` are those of sendmsg:
 * with MSG_DONTWAIT a full socket is EAGAIN. The caller keeps `fd`.
 */
static inline int edge_packet_send(int socket, const void *packet, size_t bytes, int fd, int flags) {
  union edge_packet_control control = {.bytes = {0}};
  struct iovec iov = {.iov_base = (void *)(size_t)packet, .iov_len = bytes};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
  if (fd >= 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
  }
  for (;;) {
    const ssize_t sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
    if (sent == (ssize_t)bytes) return 0;
    if (sent >= 0) return EMSGSIZE;
    if (errno != EINTR) return errno;
  }
}

/*
 * Receives one packet without waiting: its length, 0 when the other end is closed, -1 with errno (EAGAIN:
 * none is there). What does not fit is cut off. The caller owns `fd`, which is -1 where the packet has none.
 */
static inline ssize_t edge_packet_receive(int socket, void *packet, size_t bytes, int *fd) {
  union edge_packet_control control;
  struct iovec iov = {.iov_base = packet, .iov_len = bytes};
  struct msghdr message = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  *fd = -1;
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return -1;
  const struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  if (head != NULL && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
    memcpy(fd, CMSG_DATA(head), sizeof *fd);
  }
  return got;
}

#endif
