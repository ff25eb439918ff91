/*
 * Prints what was loaded, for the build to check, or says what the library lacks and fails.
 *
 * The first line holds the version of the loaded WasmEdge and that of the headers; every other line names a
 * file that is mapped as code.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <wasmedge/wasmedge.h>

#include "../compile.h"

int main(void) {
  char line[8192];
  FILE *maps = fopen("/proc/self/maps", "r");
  if (maps == NULL) {
    perror("/proc/self/maps");
    return 1;
  }
  if (dlsym(RTLD_DEFAULT, EDGE_COMPILE_LLVM_THREADS) == NULL) {
    fputs("Its LLVM hides llvm::parallel::strategy, but a compile must be able to forbid threads.\n", stderr);
    return 1;
  }
  printf("%s %s\n", WasmEdge_VersionGet(), WASMEDGE_VERSION);
  while (fgets(line, sizeof line, maps) != NULL) {
    const char *path = strchr(line, '/');
    if (path != NULL && strstr(line, " r-xp ") != NULL) fputs(path, stdout);
  }
  fclose(maps);
  return 0;
}
