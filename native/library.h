/* Includes WasmEdge's C API, whose header uses 128-bit integers, which ISO C does not have. */
#ifndef EDGE_LIBRARY_H
#define EDGE_LIBRARY_H

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#include <wasmedge/wasmedge.h>
#pragma GCC diagnostic pop

#endif
