/* Runs one ahead-of-time compile in a limited child, and keeps the private directory of that child. */
#define _GNU_SOURCE
#include "compile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "module.h"
#include "ring.h"
#include "sandbox.h"
#include "seccomp.h"

#define OUTPUT "out.so"
#define OUTPUT_BYTES_MAX (512ull << 20)
#define MODULE_BYTES_MAX (1u << 30)
#define MEMORY_PAGES_MAX 65536u
#define STACK_BYTES (8ull << 20) /* of every thread of the linker too, which counts against RLIMIT_DATA */
#define FILES 64u
#define ENTRIES_MAX 64u
/* The one descriptor that the child keeps. */
enum { MODULE_FD = 3 };

static bool directory_of(const char *path, char out[EDGE_PATH_MAX + 4]) {
  const int length = snprintf(out, EDGE_PATH_MAX + 4, "%s.d", path);
  return length > 0 && length < (int)EDGE_PATH_MAX + 4;
}

/*
 * Removes a directory and the files in it. What it cannot remove makes the next compile for this path fail at
 * its mkdir; a directory that does not exist is removed already.
 */
static void directory_remove(const char *directory) {
  const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  DIR *list = fdopendir(fd);
  if (list == NULL) {
    close(fd);
    return;
  }
  const struct dirent *entry;
  for (unsigned i = 0; i < ENTRIES_MAX && (entry = readdir(list)) != NULL; i++) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      (void)unlinkat(fd, entry->d_name, 0);
  }
  closedir(list);
  (void)rmdir(directory);
}

int edge_compile_prepare(const char *path) {
  char directory[EDGE_PATH_MAX + 4];
  if (!directory_of(path, directory)) return ENAMETOOLONG;
  directory_remove(directory);
  if (mkdir(directory, 0700) != 0) return errno;
  if (geteuid() != 0 || chown(directory, EDGE_SANDBOX_ID, EDGE_SANDBOX_ID) == 0) return 0;
  /* Root that may not change owners may not become another user either: its child writes there as root. */
  return errno == EPERM ? 0 : errno;
}

bool edge_compile_collect(const char *path, bool complete) {
  char directory[EDGE_PATH_MAX + 4], output[EDGE_PATH_MAX + 16];
  struct stat facts;
  bool taken = false;
  if (!directory_of(path, directory)) return false;
  (void)snprintf(output, sizeof output, "%s/%s", directory, OUTPUT);
  /* The child is reaped, so nothing replaces the file between the check and the move. */
  if (complete && lstat(output, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_nlink == 1 &&
      facts.st_size > 0) {
    taken =
        lchown(output, geteuid(), getegid()) == 0 && chmod(output, 0600) == 0 && rename(output, path) == 0;
  }
  directory_remove(directory);
  return taken;
}

static bool module_map(struct edge_bytes *module) {
  const int wanted = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
  struct stat facts;
  const int seals = fcntl(MODULE_FD, F_GET_SEALS);
  if (seals < 0 || (seals & wanted) != wanted || fstat(MODULE_FD, &facts) != 0) return false;
  if (facts.st_size <= 0 || facts.st_size > (off_t)MODULE_BYTES_MAX) return false;
  const void *at = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, MODULE_FD, 0);
  if (at == MAP_FAILED) return false;
  *module = (struct edge_bytes){at, (uint32_t)facts.st_size};
  return true;
}

static WasmEdge_CompilerContext *compiler_open(void) {
  WasmEdge_ConfigureContext *configure = edge_module_configure(MEMORY_PAGES_MAX);
  if (configure == NULL) return NULL;
  /* A shared object, whose symbols and relocations the edge checks; the other form has lost them. */
  WasmEdge_ConfigureCompilerSetOutputFormat(configure, WasmEdge_CompilerOutputFormat_Native);
  WasmEdge_ConfigureCompilerSetOptimizationLevel(configure, WasmEdge_CompilerOptimizationLevel_O2);
  WasmEdge_ConfigureCompilerSetGenericBinary(configure, false);
  WasmEdge_ConfigureCompilerSetInterruptible(configure, false);
  WasmEdge_ConfigureCompilerSetDumpIR(configure, false);
  return WasmEdge_CompilerCreate(configure);
}

_Noreturn void edge_compile_run(const struct edge_compile *compile) {
  char directory[EDGE_PATH_MAX + 4];
  if (!directory_of(compile->path, directory)) _exit(EDGE_COMPILE_IO);
  const struct edge_sandbox sandbox = {.data_bytes = compile->memory_bytes,
                                       .stack_bytes = STACK_BYTES,
                                       .file_bytes = OUTPUT_BYTES_MAX,
                                       .files = FILES,
                                       .cpu_seconds = compile->cpu_seconds,
                                       .parent = compile->parent,
                                       .name = "edge-compile",
                                       .directory = directory};
  struct edge_bytes module;
  if (!edge_sandbox_descriptors(compile->null_fd, &compile->module_fd, 1)) _exit(EDGE_COMPILE_SANDBOX);
  if (!module_map(&module)) _exit(EDGE_COMPILE_IO);
  if (!edge_sandbox_enter(&sandbox)) _exit(EDGE_COMPILE_SANDBOX);
  WasmEdge_CompilerContext *compiler = compiler_open();
  if (compiler == NULL) _exit(EDGE_COMPILE_REFUSED);
  if (!edge_seccomp_install(EDGE_FILTER_COMPILE, -1)) _exit(EDGE_COMPILE_SANDBOX);
  const WasmEdge_Result result = WasmEdge_CompilerCompileFromBuffer(compiler, module.at, module.len, OUTPUT);
  if (WasmEdge_ResultOK(result)) _exit(EDGE_COMPILE_DONE);
  /* A file that could not be written, as on a full disk, says nothing about the module. */
  const bool unwritten = WasmEdge_ResultGetCode(result) == WasmEdge_ErrCode_IllegalPath;
  _exit(unwritten ? EDGE_COMPILE_IO : EDGE_COMPILE_REFUSED);
}
