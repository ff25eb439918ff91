/* WasmEdge's C API; its header uses 128-bit integers, which ISO C has not. */
#ifndef EDGE_LIBRARY_H
#define EDGE_LIBRARY_H

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#include <wasmedge/wasmedge.h>
#pragma GCC diagnostic pop

#endif
