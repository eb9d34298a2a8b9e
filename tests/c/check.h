/* check.h: checks for the C tests, which need no Python.
 *
 * A check that does not hold is counted and printed, and the test carries on, so that one run
 * shows every failure. The program that calls the tests owns the counter and exits with it. */
#ifndef SQZ_TESTS_CHECK_H
#define SQZ_TESTS_CHECK_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sqz.h"

/* How many checks have failed so far; defined by the program's main file. */
extern int sqz_checks_failed;

/* The condition holds. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            sqz_checks_failed++;                                                                   \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
        }                                                                                          \
    } while (0)

/* The call, which was given `&failure` as its sqz_error, returns SQZ_OK. */
#define CHECK_OK(call, failure)                                                                    \
    do {                                                                                           \
        sqz_status check_status = (call);                                                          \
        if (check_status != SQZ_OK) {                                                              \
            sqz_checks_failed++;                                                                   \
            fprintf(stderr, "%s:%d: %s: status %d, \"%s\"\n", __FILE__, __LINE__, #call,           \
                    (int)check_status, (failure).message);                                         \
        }                                                                                          \
    } while (0)

/* The call, which was given `&failure` as its sqz_error, fails with this status and with a
 * sentence that contains `text`. */
#define CHECK_FAILS(call, failure, status, text)                                                   \
    do {                                                                                           \
        (failure).message[0] = '\0';                                                               \
        sqz_status check_status = (call);                                                          \
        if (check_status != (status) || !strstr((failure).message, (text))) {                      \
            sqz_checks_failed++;                                                                   \
            fprintf(stderr, "%s:%d: %s: status %d, \"%s\"; expected status %d with \"%s\"\n",      \
                    __FILE__, __LINE__, #call, (int)check_status, (failure).message,               \
                    (int)(status), (text));                                                        \
        }                                                                                          \
    } while (0)

/* Two numbers differ by at most `tolerance`; a NaN never does. */
#define CHECK_NEAR(found, expected, tolerance)                                                     \
    do {                                                                                           \
        double check_found = (double)(found), check_expected = (double)(expected);                 \
        if (!(fabs(check_found - check_expected) <= (double)(tolerance))) {                        \
            sqz_checks_failed++;                                                                   \
            fprintf(stderr, "%s:%d: %s is %.9g, expected %.9g within %g\n", __FILE__, __LINE__,    \
                    #found, check_found, check_expected, (double)(tolerance));                     \
        }                                                                                          \
    } while (0)

#endif
