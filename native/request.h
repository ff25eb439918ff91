/*
 * What a worker serves: the request in its slot, the answer that it writes beside it, and the log.
 *
 * One per worker, single-threaded. The lengths of a request are copied once, when it opens. Between requests
 * the slot belongs to the edge, so nothing here writes to it at EDGE_MOMENT_IDLE.
 */
#ifndef EDGE_REQUEST_H
#define EDGE_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include "geometry.h"
#include "ring.h"

/* Why the guest runs. IDLE: its instance is made pristine; it may not answer, and its log is dropped. */
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
  /* For the life of the worker. */
  uint32_t part_bytes[EDGE_PARTS];
  uint32_t *phase;       /* a word of the ring */
  struct edge_bytes env; /* NAME=VALUE\0... */
  uint32_t host_calls_max, log_lines_max;
  /* The slot and the request in it. */
  struct edge_slot *control;
  uint8_t *part[EDGE_PARTS];
  enum edge_moment moment;
  struct edge_bytes method, path, headers, id, body;
  /* The answer. */
  uint32_t status, head_len, body_len;
  enum edge_refusal refusal; /* what the guest gave first that an answer may not have */
  uint32_t log_len, log_lines, log_dropped, host_calls;
  enum edge_result fault; /* set by a host call that ends the request */
  int32_t detail;
  uint32_t subject_len;
  uint8_t subject[EDGE_SUBJECT_BYTES]; /* what the fault or the refusal is about */
  struct edge_line line[2];            /* stdout, stderr */
};

/* Begins at `moment`. At REQUEST, false when the lengths in the slot do not fit it; else always true. */
bool edge_request_open(struct edge_request *request, enum edge_moment moment);

/* Logs unfinished lines and writes the result block; the caller sets the state of the slot. */
void edge_request_close(struct edge_request *request, enum edge_result result, int32_t detail,
                        uint32_t cpu_us);

/*
 * Writes one log record, or counts it in log_dropped when a limit is reached. The slot holds every line from
 * here on, so that the log outlives a worker that is killed.
 */
void edge_request_log(struct edge_request *request, uint32_t level, const void *bytes, uint32_t len);

/*
 * Logs the bytes of a stream (0 stdout, 1 stderr) line by line. A line longer than EDGE_LINE_BYTES becomes
 * several. The slot holds the unfinished line too.
 */
void edge_request_stream(struct edge_request *request, unsigned stream, const uint8_t *bytes, uint32_t len);

/* Appends to the response body; false, with the fault RESPONSE_TOO_LARGE, when it passes the limit. */
bool edge_request_write(struct edge_request *request, const uint8_t *bytes, uint32_t len);

/* Keeps what a fault is about, cut to EDGE_SUBJECT_BYTES; the last one counts. */
void edge_request_blame(struct edge_request *request, struct edge_bytes subject);

/* Keeps why the answer is invalid; the first reason counts. */
void edge_request_refuse(struct edge_request *request, enum edge_refusal refusal, struct edge_bytes subject);

/*
 * Appends `name: value\r\n`, the name in lower case; false, with the refusal, when it is invalid, is
 * forbidden or does not fit.
 */
bool edge_request_header_add(struct edge_request *request, struct edge_bytes name, struct edge_bytes value);

/*
 * Returns the length of the value of `name`, and writes it to `to` when it fits `cap`. Repeated headers are
 * joined by ", ". -1: the request has no such header.
 */
int32_t edge_request_header_get(const struct edge_request *request, struct edge_bytes name, uint8_t *to,
                                uint32_t cap);

#endif
