/* file_write.c: a file written whole or not at all. */
#include "atomic.h"

sqz_status sqz_file_write(const char *path, const void *bytes, size_t size_bytes,
                          sqz_error *error) {
    sqz_atomic_file file;
    SQZ_TRY(sqz_atomic_open(&file, path, error));
    sqz_status status = sqz_atomic_write(&file, bytes, size_bytes, error);
    if (status == SQZ_OK)
        return sqz_atomic_commit(&file, error);
    sqz_atomic_abandon(&file);
    return status;
}
