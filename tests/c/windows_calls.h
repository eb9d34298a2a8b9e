/* windows_calls.h: the POSIX calls of these tests that Windows' C library has under another name.
 */
#ifndef SQZ_TESTS_WINDOWS_CALLS_H
#define SQZ_TESTS_WINDOWS_CALLS_H

#ifdef _WIN32

#include <direct.h>
#include <io.h>
#include <stdlib.h>

static inline char *mkdtemp(char *template) {
    return _mktemp(template) && _mkdir(template) == 0 ? template : NULL;
}

static inline int setenv(const char *name, const char *value, int overwrite) {
    (void)overwrite;
    return _putenv_s(name, value);
}

static inline int unsetenv(const char *name) {
    return _putenv_s(name, "");
}

#endif

#endif
