/* Reads the request in a slot, writes the answer beside it, and writes the log. */
#include "request.h"

#include <stddef.h>
#include <string.h>

/* The level of each line that a guest writes to stdout and to stderr. */
static const uint32_t STREAM_LEVEL[2] = {EDGE_LOG_INFO, EDGE_LOG_WARN};

static uint32_t load(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

static struct edge_bytes next_piece(const uint8_t **at, uint32_t len) {
  const struct edge_bytes piece = {*at, len};
  *at += len;
  return piece;
}

bool edge_request_open(struct edge_request *request, enum edge_moment moment) {
  static const struct edge_bytes nothing;
  request->moment = moment;
  request->method = request->path = request->headers = request->id = request->body = nothing;
  request->status = 200;
  request->head_len = request->body_len = 0;
  request->refusal = EDGE_REFUSAL_NONE;
  request->subject_len = 0;
  request->log_len = request->log_lines = request->log_dropped = request->host_calls = 0;
  request->fault = EDGE_RESULT_ANSWER;
  request->detail = 0;
  request->line[0].len = request->line[1].len = 0;
  if (moment != EDGE_MOMENT_REQUEST) return true;
  const struct edge_slot *control = request->control;
  const uint32_t method = load(&control->method_len), path = load(&control->path_len);
  const uint32_t headers = load(&control->headers_len), id = load(&control->request_id_len);
  const uint32_t body = load(&control->body_len);
  if ((uint64_t)method + path + headers + id > request->part_bytes[EDGE_PART_REQUEST_HEAD]) return false;
  if (body > request->part_bytes[EDGE_PART_REQUEST_BODY]) return false;
  const uint8_t *at = request->part[EDGE_PART_REQUEST_HEAD];
  request->method = next_piece(&at, method);
  request->path = next_piece(&at, path);
  request->headers = next_piece(&at, headers);
  request->id = next_piece(&at, id);
  request->body = (struct edge_bytes){request->part[EDGE_PART_REQUEST_BODY], body};
  return true;
}

/* Writes a record at `*end` and moves it; false when a limit is reached. */
static bool record_put(struct edge_request *request, uint32_t *end, uint32_t lines, uint32_t level,
                       struct edge_bytes text) {
  const uint64_t need = 8 + (((uint64_t)text.len + 3) & ~(uint64_t)3);
  if (lines >= request->log_lines_max || need > request->part_bytes[EDGE_PART_LOG] - *end) return false;
  uint8_t *at = request->part[EDGE_PART_LOG] + *end;
  const uint32_t head[2] = {level, text.len};
  memcpy(at, head, sizeof head);
  if (text.len > 0) memcpy(at + sizeof head, text.at, text.len);
  memset(at + sizeof head + text.len, 0, (size_t)(need - 8 - text.len));
  *end += (uint32_t)need;
  return true;
}

/* Shows the edge the log so far, with the unfinished lines behind it, which the next record overwrites. */
static void log_publish(struct edge_request *request) {
  uint32_t end = request->log_len, lines = request->log_lines;
  for (unsigned stream = 0; stream < 2; stream++) {
    const struct edge_bytes text = {request->line[stream].bytes, request->line[stream].len};
    if (text.len > 0 && record_put(request, &end, lines, STREAM_LEVEL[stream], text)) lines++;
  }
  __atomic_store_n(&request->control->log_len, end, __ATOMIC_RELEASE);
  __atomic_store_n(&request->control->log_dropped, request->log_dropped, __ATOMIC_RELEASE);
}

void edge_request_log(struct edge_request *request, uint32_t level, const void *bytes, uint32_t len) {
  if (request->moment == EDGE_MOMENT_IDLE) return;
  const struct edge_bytes text = {bytes, len};
  if (record_put(request, &request->log_len, request->log_lines, level, text)) {
    request->log_lines++;
  } else {
    request->log_dropped++;
  }
  log_publish(request);
}

static void line_end(struct edge_request *request, unsigned stream) {
  struct edge_line *line = &request->line[stream];
  const uint32_t len = line->len;
  line->len = 0; /* the log below would show it as unfinished too */
  edge_request_log(request, STREAM_LEVEL[stream], line->bytes, len);
}

void edge_request_close(struct edge_request *request, enum edge_result result, int32_t detail,
                        uint32_t cpu_us) {
  struct edge_slot *control = request->control;
  for (unsigned stream = 0; stream < 2; stream++) {
    if (request->line[stream].len > 0) line_end(request, stream);
  }
  const bool answered = result == EDGE_RESULT_ANSWER;
  if (!answered) memcpy(request->part[EDGE_PART_RESPONSE_HEAD], request->subject, request->subject_len);
  control->result = (uint32_t)result;
  control->detail = detail;
  control->status = request->status;
  control->response_head_len = answered ? request->head_len : request->subject_len;
  control->response_body_len = answered ? request->body_len : 0;
  control->log_len = request->log_len;
  control->log_dropped = request->log_dropped;
  control->cpu_us = cpu_us;
}

void edge_request_stream(struct edge_request *request, unsigned stream, const uint8_t *bytes, uint32_t len) {
  struct edge_line *line = &request->line[stream];
  if (request->moment == EDGE_MOMENT_IDLE) return;
  while (len > 0) {
    const uint8_t *newline = memchr(bytes, '\n', len);
    const uint32_t part = newline != NULL ? (uint32_t)(newline - bytes) : len;
    const uint32_t room = EDGE_LINE_BYTES - line->len;
    const uint32_t taken = part < room ? part : room;
    memcpy(line->bytes + line->len, bytes, taken);
    line->len += taken;
    bytes += taken;
    len -= taken;
    const bool ended = taken == part && newline != NULL;
    if (ended || line->len == EDGE_LINE_BYTES) line_end(request, stream);
    if (ended) {
      bytes++;
      len--;
    }
  }
  if (line->len > 0) log_publish(request);
}

bool edge_request_write(struct edge_request *request, const uint8_t *bytes, uint32_t len) {
  if (len > request->part_bytes[EDGE_PART_RESPONSE_BODY] - request->body_len) {
    request->fault = EDGE_RESULT_RESPONSE_TOO_LARGE;
    return false;
  }
  if (len > 0) memcpy(request->part[EDGE_PART_RESPONSE_BODY] + request->body_len, bytes, len);
  request->body_len += len;
  return true;
}

static uint8_t lower(uint8_t byte) { return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte; }

/* RFC 9110 section 5.6.2: token. */
static bool is_token(struct edge_bytes text) {
  for (uint32_t i = 0; i < text.len; i++) {
    const uint8_t byte = lower(text.at[i]);
    const bool alphanumeric = (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
    if (!alphanumeric && (byte == 0 || strchr("!#$%&'*+-.^_`|~", byte) == NULL)) return false;
  }
  return text.len > 0;
}

/* RFC 9110 section 5.5: no control bytes but the tab, and no blank at either end. */
static bool is_field_value(struct edge_bytes text) {
  for (uint32_t i = 0; i < text.len; i++) {
    const uint8_t byte = text.at[i];
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return false;
  }
  if (text.len == 0) return true;
  const uint8_t first = text.at[0], last = text.at[text.len - 1];
  return first != ' ' && first != '\t' && last != ' ' && last != '\t';
}

static bool name_equals(struct edge_bytes name, const char *lower_name, size_t len) {
  if (name.len != len) return false;
  for (uint32_t i = 0; i < name.len; i++) {
    if (lower(name.at[i]) != (uint8_t)lower_name[i]) return false;
  }
  return true;
}

/* Names that the edge refuses (model/http/headers.ts says why); one that ends in '*' is a prefix. */
static bool is_forbidden(struct edge_bytes name) {
  static const char *const FORBIDDEN[] = {
      "connection",  "keep-alive",     "te",         "trailer",       "transfer-encoding",
      "upgrade",     "http2-settings", "proxy-*",    "server-timing", "x-edge-*",
      "alt-svc",     "x-accel-*",      "x-envoy-*",  "x-litespeed-*", "x-lighttpd-send-file",
      "x-reproxy-*", "x-sendfile*",
  };
  for (size_t i = 0; i < sizeof FORBIDDEN / sizeof FORBIDDEN[0]; i++) {
    const char *pattern = FORBIDDEN[i];
    const size_t len = strlen(pattern);
    if (pattern[len - 1] != '*') {
      if (name_equals(name, pattern, len)) return true;
    } else if (name.len >= len - 1 &&
               name_equals((struct edge_bytes){name.at, (uint32_t)len - 1}, pattern, len - 1)) {
      return true;
    }
  }
  return false;
}

void edge_request_blame(struct edge_request *request, struct edge_bytes subject) {
  request->subject_len = subject.len < EDGE_SUBJECT_BYTES ? subject.len : EDGE_SUBJECT_BYTES;
  if (subject.len > 0) memcpy(request->subject, subject.at, request->subject_len);
}

void edge_request_refuse(struct edge_request *request, enum edge_refusal refusal, struct edge_bytes subject) {
  if (request->refusal != EDGE_REFUSAL_NONE) return;
  request->refusal = refusal;
  edge_request_blame(request, subject);
}

static bool refuse_header(struct edge_request *request, enum edge_refusal refusal, struct edge_bytes name) {
  edge_request_refuse(request, refusal, name);
  return false;
}

bool edge_request_header_add(struct edge_request *request, struct edge_bytes name, struct edge_bytes value) {
  const uint64_t need = (uint64_t)name.len + value.len + 4;
  if (!is_token(name) || !is_field_value(value) || is_forbidden(name))
    return refuse_header(request, EDGE_REFUSAL_HEADER, name);
  if (need > request->part_bytes[EDGE_PART_RESPONSE_HEAD] - request->head_len)
    return refuse_header(request, EDGE_REFUSAL_ROOM, name);
  uint8_t *at = request->part[EDGE_PART_RESPONSE_HEAD] + request->head_len;
  for (uint32_t i = 0; i < name.len; i++)
    *at++ = lower(name.at[i]);
  *at++ = ':';
  *at++ = ' ';
  if (value.len > 0) memcpy(at, value.at, value.len);
  at += value.len;
  *at++ = '\r';
  *at = '\n';
  request->head_len += (uint32_t)need;
  return true;
}

/* Takes the next `name: value\r\n` line off `rest`; false at the end. */
static bool next_header(struct edge_bytes *rest, struct edge_bytes *name, struct edge_bytes *value) {
  while (rest->len > 0) {
    const uint8_t *newline = memchr(rest->at, '\n', rest->len);
    const uint32_t taken = newline != NULL ? (uint32_t)(newline - rest->at) + 1 : rest->len;
    struct edge_bytes line = {rest->at, newline != NULL ? taken - 1 : taken};
    rest->at += taken;
    rest->len -= taken;
    if (line.len > 0 && line.at[line.len - 1] == '\r') line.len--;
    const uint8_t *colon = line.len > 0 ? memchr(line.at, ':', line.len) : NULL;
    if (colon == NULL) continue;
    const uint32_t name_len = (uint32_t)(colon - line.at);
    *name = (struct edge_bytes){line.at, name_len};
    *value = (struct edge_bytes){colon + 1, line.len - name_len - 1};
    while (value->len > 0 && value->at[0] == ' ') {
      value->at++;
      value->len--;
    }
    return true;
  }
  return false;
}

static bool same_name(struct edge_bytes a, struct edge_bytes b) {
  if (a.len != b.len) return false;
  for (uint32_t i = 0; i < a.len; i++) {
    if (lower(a.at[i]) != lower(b.at[i])) return false;
  }
  return true;
}

/* Joins the values of `wanted` and returns their length, or -1; writes them to `to` unless it is NULL. */
static int64_t join_values(struct edge_bytes rest, struct edge_bytes wanted, uint8_t *to) {
  struct edge_bytes name, value;
  int64_t total = -1;
  while (next_header(&rest, &name, &value)) {
    if (!same_name(name, wanted)) continue;
    if (total >= 0 && to != NULL) memcpy(to + total, ", ", 2);
    total = total < 0 ? 0 : total + 2;
    if (to != NULL && value.len > 0) memcpy(to + total, value.at, value.len);
    total += value.len;
  }
  return total;
}

int32_t edge_request_header_get(const struct edge_request *request, struct edge_bytes name, uint8_t *to,
                                uint32_t cap) {
  const int64_t len = join_values(request->headers, name, NULL);
  if (len >= 0 && len <= (int64_t)cap && cap > 0) (void)join_values(request->headers, name, to);
  return (int32_t)len;
}
