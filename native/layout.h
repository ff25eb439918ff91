/*
 * What EDGE_LAYOUT_VERSION stands for: the size and the offsets of every structure that crosses a process.
 *
 * The edge and the engine process compare the version when they open a ring. A change that breaks an
 * assertion here, or that gives a number of ring.h another meaning, takes the next version.
 */
#ifndef EDGE_LAYOUT_H
#define EDGE_LAYOUT_H

#include <stddef.h>
#include "ring_library.h"

#define EDGE_SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type " has another size")
#define EDGE_AT(type, field, offset)                                                                         \
  _Static_assert(offsetof(struct type, field) == (offset), #type "." #field " lies elsewhere")

EDGE_SIZE(edge_board, 56);
EDGE_AT(edge_board, edge_sleeping, 0);
EDGE_AT(edge_board, done, 4);
EDGE_AT(edge_board, waiting, 8);
EDGE_AT(edge_board, state, 12);
EDGE_AT(edge_board, phase, 44);
EDGE_AT(edge_board, served, 48);
EDGE_AT(edge_board, recycled, 52);
_Static_assert(sizeof(struct edge_board) <= 64, "a board spans more than one line of the processor's cache");

EDGE_SIZE(edge_slot, 52);
EDGE_AT(edge_slot, method_len, 0);
EDGE_AT(edge_slot, path_len, 4);
EDGE_AT(edge_slot, headers_len, 8);
EDGE_AT(edge_slot, request_id_len, 12);
EDGE_AT(edge_slot, body_len, 16);
EDGE_AT(edge_slot, result, 20);
EDGE_AT(edge_slot, detail, 24);
EDGE_AT(edge_slot, status, 28);
EDGE_AT(edge_slot, response_head_len, 32);
EDGE_AT(edge_slot, response_body_len, 36);
EDGE_AT(edge_slot, log_len, 40);
EDGE_AT(edge_slot, log_dropped, 44);
EDGE_AT(edge_slot, cpu_us, 48);
_Static_assert(sizeof(struct edge_slot) <= EDGE_PAGE, "the control block of a slot does not fit its page");

EDGE_SIZE(edge_start, 48);
EDGE_AT(edge_start, memory_pages, 0);
EDGE_AT(edge_start, isolation, 4);
EDGE_AT(edge_start, max_reuse, 8);
EDGE_AT(edge_start, allocator, 12);
EDGE_AT(edge_start, memory_pages_min, 16);
EDGE_AT(edge_start, response_cap, 20);
EDGE_AT(edge_start, host_calls_max, 24);
EDGE_AT(edge_start, log_lines_max, 28);
EDGE_AT(edge_start, stack_bytes, 32);
EDGE_AT(edge_start, data_overhead_bytes, 36);
EDGE_AT(edge_start, entrypoint_len, 40);
EDGE_AT(edge_start, env_len, 44);

EDGE_SIZE(edge_command, 24 + EDGE_PATH_MAX);
EDGE_AT(edge_command, kind, 0);
EDGE_AT(edge_command, slot, 4);
EDGE_AT(edge_command, generation, 8);
EDGE_AT(edge_command, memory_bytes, 12);
EDGE_AT(edge_command, cpu_seconds, 16);
EDGE_AT(edge_command, path_len, 20);
EDGE_AT(edge_command, path, 24);

EDGE_SIZE(edge_handle, 12);
EDGE_AT(edge_handle, kind, 0);
EDGE_AT(edge_handle, slot, 4);
EDGE_AT(edge_handle, generation, 8);

EDGE_SIZE(edge_wake, 8);
EDGE_AT(edge_wake, slot, 0);
EDGE_AT(edge_wake, generation, 4);

EDGE_SIZE(edge_event, 32);
EDGE_AT(edge_event, kind, 0);
EDGE_AT(edge_event, slot, 4);
EDGE_AT(edge_event, generation, 8);
EDGE_AT(edge_event, pid, 12);
EDGE_AT(edge_event, how, 16);
EDGE_AT(edge_event, value, 20);
EDGE_AT(edge_event, max_rss_kb, 24);
EDGE_AT(edge_event, cpu_ms, 28);

_Static_assert(EDGE_SUBJECT_BYTES <= EDGE_PAGE, "a subject may not fit the response head");
_Static_assert(EDGE_TAKEN_IS_VALID + 1 == EDGE_TAKEN_WORDS, "a record has a word that nobody writes");
_Static_assert(EDGE_PART_RESPONSE_BODY + 1 == EDGE_PARTS, "a part has no number");
_Static_assert(EDGE_WORKER_SLOTS <= 32, "the done bits of a worker do not fit a word");
_Static_assert(EDGE_WORKERS_MAX % 64 == 0, "the bits of all workers do not fill whole words");

#endif
