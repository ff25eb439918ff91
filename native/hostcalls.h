/*
 * The module `env` that guests import: log, the current request, settings, and the response.
 *
 * The worker answers every call by itself. A result of 0 or more is a length, or success; others are these.
 */
#ifndef EDGE_HOSTCALLS_H
#define EDGE_HOSTCALLS_H

#include "imports.h"

enum edge_host_error { EDGE_HOST_NOT_FOUND = -1, EDGE_HOST_DENIED = -2, EDGE_HOST_BAD_ARGUMENT = -3 };

#endif
