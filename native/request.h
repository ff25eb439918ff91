/*
 * What one worker is serving: the request in its slot, the answer that grows beside it, and the log.
 *
 * One per worker, single-threaded. The slot belongs to the edge outside a request, so nothing here writes to
 * it at the moment EDGE_MOMENT_IDLE. The lengths of the request are copied once when it opens.
 */
#ifndef EDGE_REQUEST_H
#define EDGE_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include "geometry.h"
#include "ring.h"

/* IDLE: the guest runs to be made pristine again, and is neither heard nor logged. */
enum edge_moment { EDGE_MOMENT_IDLE = 0, EDGE_MOMENT_START = 1, EDGE_MOMENT_REQUEST = 2 };

struct edge_bytes {
  const uint8_t *at;
  uint32_t len;
};

/* An unfinished line of a guest's stdout or stderr. */
#define EDGE_LINE_BYTES 4096u
struct edge_line {
  uint32_t len;
  uint8_t bytes[EDGE_LINE_BYTES];
};

struct edge_request {
  /* for the life of the worker */
  uint32_t part_bytes[EDGE_PARTS];
  uint32_t *phase; /* in the ring */
  struct edge_bytes env; /* NAME=VALUE\0... */
  uint32_t host_calls_max, log_lines_max;
  /* of the request, and the slot that it lies in */
  struct edge_slot *control;
  uint8_t *part[EDGE_PARTS];
  enum edge_moment moment;
  struct edge_bytes method, path, headers, id, body;
  /* of the answer */
  uint32_t status, head_len, body_len;
  bool invalid; /* a bad status or header was given */
  uint32_t log_len, log_lines, log_dropped, host_calls;
  enum edge_result fault; /* set by a host call that ends the request */
  int32_t detail;
  struct edge_line line[2]; /* stdout, stderr */
};

/* Starts anew at `moment`; at REQUEST false when the lengths in the slot do not fit it. */
bool edge_request_open(struct edge_request *request, enum edge_moment moment);

/* Ends unfinished lines and writes the result block (not the state). */
void edge_request_close(struct edge_request *request, enum edge_result result, int32_t detail,
                        uint32_t cpu_us);

/* One log record, or one more in log_dropped when a limit is reached. */
void edge_request_log(struct edge_request *request, uint32_t level, const void *bytes, uint32_t len);

/*
 * Bytes of a stream (0 stdout, 1 stderr), logged line by line; a line longer than EDGE_LINE_BYTES is cut in
 * pieces.
 */
void edge_request_stream(struct edge_request *request, unsigned stream, const uint8_t *bytes, uint32_t len);

/* Appends to the response body; false and a fault when it passes the limit. */
bool edge_request_write(struct edge_request *request, const uint8_t *bytes, uint32_t len);

/* Appends `name: value\r\n` in lower case; false when it is invalid, forbidden or does not fit. */
bool edge_request_header_add(struct edge_request *request, struct edge_bytes name, struct edge_bytes value);

/*
 * Length of the value of `name`, repeated ones joined by ", ", written to `to` when `cap` suffices; -1: not
 * there.
 */
int32_t edge_request_header_get(const struct edge_request *request, struct edge_bytes name, uint8_t *to,
                                uint32_t cap);

#endif
