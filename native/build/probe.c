/* Prints the version of the WasmEdge library that was loaded, and that of the headers it was built with. */
#include <stdio.h>
#include <wasmedge/wasmedge.h>

int main(void) {
  printf("%s %s\n", WasmEdge_VersionGet(), WASMEDGE_VERSION);
  return 0;
}
