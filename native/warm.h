/*
 * Work that every worker needs, done once in the zygote before the first fork.
 *
 * The workers then share the memory that it touched and the symbols that it resolved.
 */
#ifndef EDGE_WARM_H
#define EDGE_WARM_H

/* Loads, links, runs and drops a tiny module of our own. A failure only makes the workers slower to start. */
void edge_warm(void);

#endif
