/* run.h: what the test program needs of a system: bytes in, text out. */
#include <stddef.h>

/* Reads so many bytes of the pictures; how many there were. */
size_t input(void *to, size_t bytes);

/* Writes a string. */
void output(const char *text);

/* Answers every picture of the input with a line of its logits' bits; 0, or 1 where a call fails.
 */
int run(void);
