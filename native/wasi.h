/*
 * WASI preview 1 as a guest sees it: clocks, random bytes, logs; no files, sockets, arguments or variables.
 *
 * stdin is empty. A line on stdout is logged at the level info, one on stderr at warn. A guest may import any
 * function of preview 1; a call of one that is not served ends the request with EDGE_RESULT_WASI_DENIED and
 * the name of the function.
 * Source: the preview 1 witx and its C header.
 */
#ifndef EDGE_WASI_H
#define EDGE_WASI_H

#include "imports.h"

/* The numbers of WASI's errno that are returned here. */
enum edge_wasi_errno {
  EDGE_WASI_SUCCESS = 0,
  EDGE_WASI_BADF = 8,
  EDGE_WASI_INVAL = 28,
  EDGE_WASI_IO = 29,
  EDGE_WASI_NOTSUP = 58,
  EDGE_WASI_SPIPE = 70
};

#endif
