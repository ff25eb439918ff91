/*
 * The functions of libedge_engine.so, the engine process: the zygote and its children.
 *
 * Only the engine role loads it, together with libwasmedge. The process has one thread, always, and after a
 * fork only C runs. The process exits after edge_engine_serve, which leaves its descriptors open.
 */
#ifndef EDGE_ENGINE_H
#define EDGE_ENGINE_H

#include <stdint.h>
#include "ring.h"

/* The version of the loaded libwasmedge, such as "0.14.1"; a static string. */
EDGE_API const char *edge_engine_wasmedge_version(void);

/*
 * Serves as the zygote until the command socket closes; then it kills and reaps every child and returns 0.
 *
 * `layout_version` is the edge's EDGE_LAYOUT_VERSION, `command_fd` the child's end of the command socket,
 * `socket_path` the edge's unix socket, to which it connects twice (events, wakes). The geometry is that of
 * edge_ring_open. When it cannot serve, it says why in one line on stderr and returns -errno of the step that
 * failed; for another layout version that is -EPROTO, and without a necessary part of the wall (wall.h)
 * -EACCES, unless `allow_weak_walls` is 1.
 */
EDGE_API int32_t edge_engine_serve(uint32_t layout_version, int32_t command_fd, const void *socket_path,
                                   uint32_t slots, uint32_t request_head_bytes,
                                   uint32_t request_body_bytes, uint32_t response_head_bytes,
                                   uint32_t response_body_bytes, uint32_t log_bytes,
                                   uint32_t allow_weak_walls);

#endif
