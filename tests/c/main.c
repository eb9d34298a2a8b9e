/* main.c: runs the C tests, or those that are named, and exits with 1 if a check failed. The
 * compiler is told which tests there are: SQZ_TESTS is a list like X(test_base) X(test_image), one
 * function of that name for each file tests/c/test_*.c. */
#include "check.h"

#ifndef SQZ_TESTS
#error "compile with -DSQZ_TESTS='X(test_base) X(test_image)', naming each tests/c/test_*.c"
#endif

int sqz_checks_failed = 0;

#define X(name) void name(void);
SQZ_TESTS
#undef X

static void run(const char *name, void (*test)(void)) {
    int before = sqz_checks_failed;
    test();
    printf("%s: %s\n", name, sqz_checks_failed == before ? "passed" : "FAILED");
    fflush(stdout);
}

static bool is_wanted(const char *name, char **wanted) {
    bool all = !*wanted;
    while (*wanted && strcmp(*wanted, name) != 0)
        wanted++;
    return all || *wanted;
}

int main(int count, char **arguments) {
    (void)count;
#define X(name)                                                                                    \
    if (is_wanted(#name, arguments + 1))                                                           \
        run(#name, name);
    SQZ_TESTS
#undef X
    return sqz_checks_failed ? 1 : 0;
}
