/*
 * WASI preview 1 as a guest of this product sees it: no files, no sockets, no arguments, an empty
 * environment.
 *
 * stdin is empty; stdout and stderr become log lines at the levels info and warn. Names that are not served
 * link, and calling one ends the request with EDGE_RESULT_WASI_DENIED. Source: the preview 1 witx and its C
 * header.
 */
#ifndef EDGE_WASI_H
#define EDGE_WASI_H

#include "imports.h"

/* Numbers of WASI's errno. */
enum edge_wasi_errno {
  EDGE_WASI_SUCCESS = 0,
  EDGE_WASI_BADF = 8,
  EDGE_WASI_INVAL = 28,
  EDGE_WASI_IO = 29,
  EDGE_WASI_NOTSUP = 58,
  EDGE_WASI_SPIPE = 70
};

#endif
