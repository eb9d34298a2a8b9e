/* file.c: the one door to files that are read. A path may name anything: a pipe that nobody writes
 * to, a device without an end, a folder. What it names is looked at once it is open, so that it
 * cannot be exchanged in between. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "status.h"

static sqz_status check(sqz_file *file, int64_t limit_bytes, sqz_error *error) {
    struct stat about;
    if (fstat(file->descriptor, &about) != 0)
        return sqz_fail_io(error, file->path, "cannot be read");
    if (S_ISDIR(about.st_mode)) {
        errno = EISDIR;
        return sqz_fail_io(error, file->path, "cannot be read");
    }
    if (!S_ISREG(about.st_mode))
        return sqz_fail(error, SQZ_BAD_FILE,
                        "%s: is no regular file (but a pipe, socket or device)", file->path);
    file->size_bytes = (int64_t)about.st_size;
    if (limit_bytes >= 0 && file->size_bytes > limit_bytes)
        return sqz_fail(error, SQZ_BAD_FILE, "%s: has %lld bytes, expected at most %lld",
                        file->path, (long long)file->size_bytes, (long long)limit_bytes);
    return SQZ_OK;
}

sqz_status sqz_file_open(sqz_file *file, const char *path, int64_t limit_bytes, sqz_error *error) {
    *file = (sqz_file){.path = path, .descriptor = -1};
    do /* O_NONBLOCK: a pipe without a writer is opened at once; regular files do not heed it */
        file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (file->descriptor < 0 && errno == EINTR);
    if (file->descriptor < 0)
        return sqz_fail_io(error, path, "cannot be read");
    sqz_status status = check(file, limit_bytes, error);
    if (status != SQZ_OK)
        sqz_file_close(file);
    return status;
}

sqz_status sqz_file_read(const sqz_file *file, void *bytes, size_t size_bytes, int64_t offset,
                         sqz_error *error) {
    char *next = bytes;
    while (size_bytes > 0) {
        ssize_t got = pread(file->descriptor, next, size_bytes, (off_t)offset);
        if (got < 0 && errno != EINTR)
            return sqz_fail_io(error, file->path, "cannot be read");
        if (got == 0)
            return sqz_fail(error, SQZ_BAD_FILE, "%s: became shorter while it was read",
                            file->path);
        if (got > 0) {
            next += got;
            offset += got;
            size_bytes -= (size_t)got;
        }
    }
    return SQZ_OK;
}

void sqz_file_close(sqz_file *file) {
    if (file->descriptor >= 0)
        close(file->descriptor); /* not again after EINTR: the number may be another file's then */
    file->descriptor = -1;
}
