/* The host functions of the module `env`. */
#include "hostcalls.h"

#include <string.h>

#define ABORT_TEXT_BYTES 1024u

static bool is_negative(uint64_t argument) { return (int32_t)(uint32_t)argument < 0; }

/*
 * Returns the length of `from`, and copies it when it fits the guest's buffer, whose address is argument
 * `buffer` and whose capacity is the argument after it.
 */
static int32_t answer(struct edge_call *call, unsigned buffer, struct edge_bytes from) {
  const uint64_t at = call->argument[buffer], cap = call->argument[buffer + 1];
  if (is_negative(cap)) return EDGE_HOST_BAD_ARGUMENT;
  uint8_t *to = edge_call_bytes(call, at, cap);
  if (to == NULL) return 0;
  if (from.len <= cap && from.len > 0) memcpy(to, from.at, from.len);
  return (int32_t)from.len;
}

/*
 * Finds the guest's bytes whose address is argument `first` and whose length is the argument after it. False
 * when the call must return `*result`.
 */
static bool take_bytes(struct edge_call *call, unsigned first, struct edge_bytes *bytes, int32_t *result) {
  const uint64_t at = call->argument[first], len = call->argument[first + 1];
  *result = EDGE_HOST_BAD_ARGUMENT;
  if (is_negative(len)) return false;
  *bytes = (struct edge_bytes){edge_call_bytes(call, at, len), (uint32_t)len};
  return bytes->at != NULL;
}

static bool in_request(const struct edge_call *call) { return call->request->moment == EDGE_MOMENT_REQUEST; }

static int32_t host_log(struct edge_call *call) {
  struct edge_bytes text;
  int32_t result;
  if (!take_bytes(call, 1, &text, &result)) return result;
  if (call->argument[0] > EDGE_LOG_ERROR) return EDGE_HOST_BAD_ARGUMENT;
  edge_request_log(call->request, (uint32_t)call->argument[0], text.at, text.len);
  return 0;
}

static int32_t host_request_id(struct edge_call *call) {
  return in_request(call) ? answer(call, 0, call->request->id) : EDGE_HOST_DENIED;
}

static int32_t host_request_method(struct edge_call *call) {
  return in_request(call) ? answer(call, 0, call->request->method) : EDGE_HOST_DENIED;
}

static int32_t host_request_path(struct edge_call *call) {
  return in_request(call) ? answer(call, 0, call->request->path) : EDGE_HOST_DENIED;
}

static int32_t host_request_header(struct edge_call *call) {
  struct edge_bytes name;
  int32_t result;
  if (!in_request(call)) return EDGE_HOST_DENIED;
  if (!take_bytes(call, 0, &name, &result)) return result;
  if (is_negative(call->argument[3])) return EDGE_HOST_BAD_ARGUMENT;
  uint8_t *to = edge_call_bytes(call, call->argument[2], call->argument[3]);
  if (to == NULL) return 0;
  if (name.at < to + call->argument[3] && to < name.at + name.len)
    return EDGE_HOST_BAD_ARGUMENT; /* they overlap */
  return edge_request_header_get(call->request, name, to, (uint32_t)call->argument[3]);
}

static int32_t host_env_get(struct edge_call *call) {
  struct edge_bytes name;
  int32_t result;
  if (!take_bytes(call, 0, &name, &result)) return result;
  const struct edge_bytes env = call->request->env;
  for (uint32_t at = 0; at < env.len;) {
    const uint8_t *entry = env.at + at;
    const uint8_t *end = memchr(entry, '\0', env.len - at);
    const uint32_t len = end != NULL ? (uint32_t)(end - entry) : env.len - at;
    if (len > name.len && entry[name.len] == '=' && memchr(entry, '=', len) == entry + name.len &&
        memcmp(entry, name.at, name.len) == 0) {
      return answer(call, 2, (struct edge_bytes){entry + name.len + 1, len - name.len - 1});
    }
    at += len + 1;
  }
  return EDGE_HOST_NOT_FOUND;
}

static int32_t host_response_status(struct edge_call *call) {
  const uint64_t status = call->argument[0];
  if (!in_request(call)) return EDGE_HOST_DENIED;
  if (call->request->refusal != EDGE_REFUSAL_STATUS) call->request->status = (uint32_t)status;
  if (status >= 200 && status <= 599) return 0;
  edge_request_refuse(call->request, EDGE_REFUSAL_STATUS, (struct edge_bytes){NULL, 0});
  return EDGE_HOST_BAD_ARGUMENT;
}

static int32_t host_response_header(struct edge_call *call) {
  struct edge_bytes name, value;
  int32_t result;
  if (!in_request(call)) return EDGE_HOST_DENIED;
  if (!take_bytes(call, 0, &name, &result) || !take_bytes(call, 2, &value, &result)) {
    edge_request_refuse(call->request, EDGE_REFUSAL_LENGTH, (struct edge_bytes){NULL, 0});
    return result;
  }
  return edge_request_header_add(call->request, name, value) ? 0 : EDGE_HOST_BAD_ARGUMENT;
}

static int32_t host_response_write(struct edge_call *call) {
  struct edge_bytes bytes;
  int32_t result;
  if (!in_request(call)) return EDGE_HOST_DENIED;
  if (!take_bytes(call, 0, &bytes, &result)) return result;
  (void)edge_request_write(call->request, bytes.at, bytes.len); /* a response too large ends the request */
  return 0;
}

/* Writes one code point as UTF-8 and returns its length. */
static uint32_t put_utf8(uint8_t *to, uint32_t code) {
  if (code < 0x80) {
    to[0] = (uint8_t)code;
    return 1;
  }
  if (code < 0x800) {
    to[0] = (uint8_t)(0xc0 | code >> 6);
    to[1] = (uint8_t)(0x80 | (code & 0x3f));
    return 2;
  }
  if (code < 0x10000) {
    to[0] = (uint8_t)(0xe0 | code >> 12);
    to[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    to[2] = (uint8_t)(0x80 | (code & 0x3f));
    return 3;
  }
  to[0] = (uint8_t)(0xf0 | code >> 18);
  to[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
  to[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
  to[3] = (uint8_t)(0x80 | (code & 0x3f));
  return 4;
}

static uint32_t unit_at(const uint8_t *at) { return (uint32_t)at[0] | (uint32_t)at[1] << 8; }

/*
 * Writes AssemblyScript's string at `at` as UTF-8, cut to `cap` bytes, and returns its length. In the guest's
 * memory it is UTF-16LE with its length in bytes in the word before it.
 */
static uint32_t assemblyscript_text(const struct edge_call *call, uint64_t at, uint8_t *to, uint32_t cap) {
  uint32_t bytes, used = 0;
  if (at < 4 || at > call->memory_bytes) return 0;
  memcpy(&bytes, call->memory + at - 4, sizeof bytes);
  if (bytes > call->memory_bytes - at) return 0;
  for (uint32_t i = 0; i + 1 < bytes && used + 4 <= cap; i += 2) {
    uint32_t code = unit_at(call->memory + at + i);
    if (code >= 0xd800 && code < 0xe000) {
      const uint32_t low = code < 0xdc00 && i + 3 < bytes ? unit_at(call->memory + at + i + 2) : 0;
      const bool paired = low >= 0xdc00 && low < 0xe000;
      code = paired ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
      if (paired) i += 2;
    }
    used += put_utf8(to + used, code);
  }
  return used;
}

/* AssemblyScript calls this at a failed assertion or a throw, with message, file, line and column. */
static int32_t host_abort(struct edge_call *call) {
  uint8_t text[ABORT_TEXT_BYTES] = "abort: ";
  const uint32_t prefix = 7;
  const uint32_t len =
      prefix + assemblyscript_text(call, call->argument[0], text + prefix, sizeof text - prefix);
  edge_request_log(call->request, EDGE_LOG_ERROR, text, len);
  call->request->fault = EDGE_RESULT_TRAP_UNREACHABLE;
  return 0;
}

static const struct edge_import LIST[] = {
    {"log", "iii:i", host_log},
    {"request_id", "ii:i", host_request_id},
    {"request_method", "ii:i", host_request_method},
    {"request_path", "ii:i", host_request_path},
    {"request_header", "iiii:i", host_request_header},
    {"env_get", "iiii:i", host_env_get},
    {"response_status", "i:i", host_response_status},
    {"response_header", "iiii:i", host_response_header},
    {"response_write", "ii:i", host_response_write},
    {"abort", "iiii:", host_abort},
};

const struct edge_imports edge_hostcalls = {"env", LIST, sizeof LIST / sizeof LIST[0]};
