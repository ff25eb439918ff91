/*
 * Work that every worker would do alike, done once in the zygote so that all share its memory and its
 * symbols.
 */
#ifndef EDGE_WARM_H
#define EDGE_WARM_H

/* Loads, links, runs and drops a tiny module of our own. A failure costs only time later. */
void edge_warm(void);

#endif
