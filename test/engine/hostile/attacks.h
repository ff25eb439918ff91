/*
 * What an attacker does who has taken a worker over: arguments, memory, the memory of others.
 *
 * Runs in the worker behind its last filter, at the moment when it would wait for a request.
 */
#ifndef EDGE_HOSTILE_ATTACKS_H
#define EDGE_HOSTILE_ATTACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Does what the environment of the guest, NAME=VALUE strings, asks for with ATTACK. Returns when it knows no
 * such attack, and after the attacks that keep memory. `slots` is the memory that the worker shares with the
 * edge.
 */
void attack_run(const uint8_t *env, uint32_t env_len, void *slots, size_t slots_bytes);

/* Exit codes: the attack reached something that it may not; the kernel refused it; it may do that. */
enum { ATTACK_REACHED = 77, ATTACK_REFUSED = 78, ATTACK_HARMLESS = 79, ATTACK_SEEN = 80 };

/* In attacks_memory.c. False when there is no memory attack of that name. */
bool attack_memory(const char *name, void *slots, size_t slots_bytes);

/* Whether the first byte of a page can be read; the fault of one that cannot is handled. */
bool attack_reads(const volatile uint8_t *at);
/* The same for a write, which leaves the page as it is but makes it a page of this process. */
bool attack_writes(volatile uint8_t *at);

#endif
