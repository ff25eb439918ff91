/* Attacks of a taken-over worker on memory: more than its share, and what others keep there. */
#define _GNU_SOURCE
#include "attacks.h"

#include <alloca.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STEP (4u << 20)
#define PAGE 4096u
#define REGIONS_MAX 4096u
/* Less than the limit, so that the frames above and below fit. */
#define STACK_KEPT (56u << 20)
/* The first slot with its bodies. */
#define SEEK_SLOTS (24u << 20)
#define ADVICES 128
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define BOTH (PROT_READ | PROT_WRITE)

/* What the engine process had mapped when the library was loaded, and a worker may have inherited. */
static struct {
  uintptr_t from, to;
  bool is_writable, is_file;
} region[REGIONS_MAX];
static unsigned regions;

__attribute__((constructor)) static void regions_list(void) {
  char line[512], permissions[5];
  unsigned long from, to;
  FILE *maps = fopen("/proc/self/maps", "re");
  while (maps != NULL && regions < REGIONS_MAX && fgets(line, sizeof line, maps) != NULL) {
    if (sscanf(line, "%lx-%lx %4s", &from, &to, permissions) != 3 || permissions[0] != 'r') continue;
    if (strstr(line, "[v") != NULL) continue; /* pages of the kernel */
    region[regions].from = from;
    region[regions].to = to;
    region[regions].is_file = strchr(line, '/') != NULL;
    region[regions++].is_writable = permissions[1] == 'w';
  }
  if (maps != NULL) fclose(maps);
}

static sigjmp_buf caught;

static void on_fault(int number) {
  (void)number;
  siglongjmp(caught, 1);
}

static void faults_catch(void) {
  struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
  (void)sigaction(SIGSEGV, &action, NULL);
  (void)sigaction(SIGBUS, &action, NULL);
}

bool attack_reads(const volatile uint8_t *at) {
  if (sigsetjmp(caught, 0) != 0) return false;
  (void)*at;
  return true;
}

bool attack_writes(volatile uint8_t *at) {
  if (sigsetjmp(caught, 0) != 0) return false;
  *at = *at;
  return true;
}

static void touch(volatile uint8_t *at, size_t bytes) {
  for (size_t done = 0; done < bytes; done += PAGE)
    at[done] = 1;
}

/* Maps private memory and writes to it until the kernel gives no more, in ever smaller pieces. */
static void keep_private(int flags) {
  for (size_t step = STEP; step >= PAGE; step /= 2) {
    for (;;) {
      void *at = mmap(NULL, step, BOTH, PRIVATE | flags, -1, 0);
      if (at == MAP_FAILED) break;
      touch(at, step);
    }
  }
}

static void keep_heap(void) {
  for (void *at; (at = sbrk(STEP)) != (void *)-1;)
    touch(at, STEP);
}

/* Reserves without rights, which no limit counts, and then asks for the rights. */
static void keep_reserved(void) {
  uint8_t *at = mmap(NULL, (size_t)STEP * 1024, PROT_NONE, PRIVATE | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) _exit(ATTACK_REFUSED);
  for (size_t done = 0; done < (size_t)STEP * 1024; done += STEP) {
    if (mprotect(at + done, STEP, BOTH) != 0) return;
    touch(at + done, STEP);
  }
}

static void keep_inherited(void) {
  for (unsigned i = 0; i < regions; i++) {
    if (!region[i].is_writable) continue;
    for (uintptr_t at = region[i].from; at < region[i].to; at += PAGE)
      if (!attack_writes((volatile uint8_t *)at)) break;
  }
}

static void keep_stack(void) {
  volatile uint8_t *at = alloca(STACK_KEPT);
  for (size_t done = STACK_KEPT; done >= PAGE; done -= PAGE)
    at[done - 1] = 1;
}

static void keep_all(void *slots, size_t slots_bytes) {
  keep_private(0);
  keep_heap();
  keep_reserved();
  keep_inherited();
  keep_stack();
  touch(slots, slots_bytes);
}

/* Every advice but the one that libc needs. */
static void advise(void *slots) {
  for (int advice = 0; advice < ADVICES; advice++) {
    if (advice == MADV_DONTNEED) continue;
    if (syscall(SYS_madvise, slots, PAGE, advice) == 0) _exit(ATTACK_REACHED);
  }
  _exit(ATTACK_REFUSED);
}

/* The mark that neighbours carry, not as this library holds it, so that a worker finds only theirs. */
static const uint8_t MARK[] = {'C' ^ 1, 'A' ^ 1, 'N' ^ 1, 'A' ^ 1, 'R' ^ 1, 'Y' ^ 1, '-' ^ 1};

static bool has_mark(const uint8_t *at, const uint8_t *end) {
  for (; at + sizeof MARK < end; at++) {
    size_t matched = 0;
    while (matched < sizeof MARK && (at[matched] ^ 1) == MARK[matched])
      matched++;
    if (matched == sizeof MARK) return true;
  }
  return false;
}

/* Reads what it shares with the edge, and everything that it has from the engine process but its files. */
static void seek(const void *slots, size_t slots_bytes) {
  const size_t bytes = slots_bytes < SEEK_SLOTS ? slots_bytes : SEEK_SLOTS;
  if (has_mark(slots, (const uint8_t *)slots + bytes)) _exit(ATTACK_SEEN);
  for (unsigned i = 0; i < regions; i++) {
    if (region[i].is_file && !region[i].is_writable) continue;
    for (uintptr_t at = region[i].from; at < region[i].to; at += PAGE) {
      if (!attack_reads((const volatile uint8_t *)at)) break;
      if (has_mark((const uint8_t *)at, (const uint8_t *)at + PAGE)) _exit(ATTACK_SEEN);
    }
  }
  _exit(ATTACK_HARMLESS);
}

/* Grows its mapping of the slots over what lies behind it in the file, and moves it. */
static void remap(void *slots, size_t slots_bytes) {
  for (size_t times = 2; times <= 1024; times *= 2)
    if (mremap(slots, slots_bytes, slots_bytes * times, MREMAP_MAYMOVE) != MAP_FAILED) _exit(ATTACK_REACHED);
  if (mremap(slots, 0, slots_bytes, MREMAP_MAYMOVE) != MAP_FAILED) _exit(ATTACK_REACHED);
  _exit(ATTACK_REFUSED);
}

bool attack_memory(const char *name, void *slots, size_t slots_bytes) {
  faults_catch();
  if (strcmp(name, "keep-private") == 0) keep_private(0);
  else if (strcmp(name, "keep-unreserved") == 0) keep_private(MAP_NORESERVE);
  else if (strcmp(name, "keep-heap") == 0) keep_heap();
  else if (strcmp(name, "keep-reserved") == 0) keep_reserved();
  else if (strcmp(name, "keep-inherited") == 0) keep_inherited();
  else if (strcmp(name, "keep-stack") == 0) keep_stack();
  else if (strcmp(name, "keep-slots") == 0) touch(slots, slots_bytes);
  else if (strcmp(name, "keep-all") == 0) keep_all(slots, slots_bytes);
  else if (strcmp(name, "advise") == 0) advise(slots);
  else if (strcmp(name, "seek") == 0) seek(slots, slots_bytes);
  else if (strcmp(name, "remap-slots") == 0) remap(slots, slots_bytes);
  else return false;
  return true;
}
