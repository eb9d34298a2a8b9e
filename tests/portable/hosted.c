/* hosted.c: where there is an operating system. */
#include "run.h"

#include <stdio.h>

size_t input(void *to, size_t bytes) {
    return fread(to, 1, bytes, stdin);
}

void output(const char *text) {
    fputs(text, stdout);
}

int main(void) {
    return run();
}
