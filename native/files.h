/*
 * The two files of a compile child, whose names only that child knows: no path of it reaches the kernel.
 *
 * The filter EDGE_FILTER_COMPILE turns each call that takes a path into the signal SIGSYS, and a handler in
 * the child answers the call from here. LLVM and its linker write an object file, read it, write the result
 * under another name, and rename it. A child that was taken over gains nothing from lying to itself: it has
 * the two descriptors, and the kernel opens no third file for it.
 */
#ifndef EDGE_FILES_H
#define EDGE_FILES_H

#include <stdbool.h>

/* The name under which the result must be in the end; temporary names of it begin with the same. */
#define EDGE_FILES_RESULT "/out.so"

/* In the child, before its filter: takes two empty files that are open for reading and writing. */
bool edge_files_open(int result_fd, int object_fd);

/* Whether a file was written and then renamed to EDGE_FILES_RESULT. */
bool edge_files_is_complete(void);

#endif
