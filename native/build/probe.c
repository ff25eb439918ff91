/* Prints the version of the WasmEdge library that was loaded, that of the headers it was built with, and then
   every file that is mapped as code, one in a line. */
#include <stdio.h>
#include <string.h>
#include <wasmedge/wasmedge.h>

int main(void) {
  char line[8192];
  FILE *maps = fopen("/proc/self/maps", "r");
  if (maps == NULL) {
    perror("/proc/self/maps");
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
