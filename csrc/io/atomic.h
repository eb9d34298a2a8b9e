/* atomic.h: files that appear whole or not at all. */
#ifndef SQZ_IO_ATOMIC_H
#define SQZ_IO_ATOMIC_H

#include "../base/status.h"

/* A file in the making: everything is written to a temporary file in the target's folder, and
 * commit puts it in the target's place. After open succeeds, exactly one of commit and abandon must
 * follow. All errors are SQZ_IO (or SQZ_NO_MEMORY) and name `path`. */
typedef struct {
    const char *path; /* as given, for errors; the caller's */
    char *target;     /* the file to replace, symbolic links followed */
    char *temporary;
    int descriptor;
} sqz_atomic_file;

/* The file gets the target's permissions if there is one, else those that the umask leaves. */
sqz_status sqz_atomic_open(sqz_atomic_file *file, const char *path, sqz_error *error);
sqz_status sqz_atomic_write(sqz_atomic_file *file, const void *bytes, size_t size_bytes,
                            sqz_error *error);
/* After an error the temporary file is gone and the target is as it was. */
sqz_status sqz_atomic_commit(sqz_atomic_file *file, sqz_error *error);
void sqz_atomic_abandon(sqz_atomic_file *file);

#endif
