/* status.h: how errors travel. A function that can fail returns sqz_status and takes a sqz_error;
 * sqz_fail writes the sentence and returns the status, SQZ_TRY passes a failure up. */
#ifndef SQZ_BASE_STATUS_H
#define SQZ_BASE_STATUS_H

#include "../sqz.h"

#if defined(__GNUC__)
#define SQZ_PRINTF(format_index, first_index)                                                      \
    __attribute__((format(printf, format_index, first_index)))
#else
#define SQZ_PRINTF(format_index, first_index)
#endif

/* Returns `status`. The message is formatted into error (which may be NULL), cut at its size. */
sqz_status sqz_fail(sqz_error *error, sqz_status status, const char *format, ...) SQZ_PRINTF(3, 4);

/* Returns SQZ_IO with the message "<path>: <what>: <strerror(errno)>"; SQZ_NO_MEMORY for ENOMEM. */
sqz_status sqz_fail_io(sqz_error *error, const char *path, const char *what);

/* Returns SQZ_NO_MEMORY and says for what and how much. */
sqz_status sqz_fail_memory(sqz_error *error, const char *what, size_t size_bytes);

#define SQZ_TRY(call)                                                                              \
    do {                                                                                           \
        sqz_status sqz_try_status = (call);                                                        \
        if (sqz_try_status != SQZ_OK)                                                              \
            return sqz_try_status;                                                                 \
    } while (0)

#endif
