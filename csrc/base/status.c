/* status.c: see status.h. */
#include "status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

sqz_status sqz_fail(sqz_error *error, sqz_status status, const char *format, ...) {
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
        error->system_errno = 0;
    }
    return status;
}

sqz_status sqz_fail_io(sqz_error *error, const char *path, const char *what) {
    int code = errno;
    if (code == ENOMEM) /* the system's own: nothing is wrong with the file */
        return sqz_fail(error, SQZ_NO_MEMORY, "%s: %s: out of memory", path, what);
    sqz_fail(error, SQZ_IO, "%s: %s: %s", path, what, strerror(code));
    if (error)
        error->system_errno = code;
    return SQZ_IO;
}

sqz_status sqz_fail_memory(sqz_error *error, const char *what, size_t size_bytes) {
    return sqz_fail(error, SQZ_NO_MEMORY, "out of memory: %zu bytes for %s could not be allocated",
                    size_bytes, what);
}
