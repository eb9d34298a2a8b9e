/* file_windows.c: file.c for Windows. */
#include "windows.h"

#include <fcntl.h>
#include <io.h>
#include <share.h>
#include <sys/stat.h>

#include "status.h"

static sqz_status check(sqz_file *file, int64_t limit_bytes, sqz_error *error) {
    struct _stat64 about;
    if (_fstat64(file->descriptor, &about) != 0)
        return sqz_fail_io(error, file->path, "cannot be read");
    if ((about.st_mode & _S_IFMT) != _S_IFREG)
        return sqz_fail(error, SQZ_BAD_FILE, "%s: is no regular file (but a pipe or device)",
                        file->path);
    file->size_bytes = about.st_size;
    if (limit_bytes >= 0 && file->size_bytes > limit_bytes)
        return sqz_fail(error, SQZ_BAD_FILE, "%s: has %lld bytes, expected at most %lld",
                        file->path, (long long)file->size_bytes, (long long)limit_bytes);
    return SQZ_OK;
}

sqz_status sqz_file_open(sqz_file *file, const char *path, int64_t limit_bytes, sqz_error *error) {
    *file = (sqz_file){.path = path, .descriptor = -1};
    wchar_t *wide = sqz_windows_path(path);
    if (!wide)
        return sqz_fail_io(error, path, "cannot be read");
    _wsopen_s(&file->descriptor, wide, _O_RDONLY | _O_BINARY | _O_NOINHERIT, _SH_DENYNO, 0);
    free(wide);
    if (file->descriptor < 0)
        return sqz_fail_io(error, path, "cannot be read");
    sqz_status status = check(file, limit_bytes, error);
    if (status != SQZ_OK)
        sqz_file_close(file);
    return status;
}

sqz_status sqz_file_read(const sqz_file *file, void *bytes, size_t size_bytes, int64_t offset,
                         sqz_error *error) {
    enum { MOST_BYTES = 1 << 30 }; /* of a call, which counts them in 32 bits */
    HANDLE handle = (HANDLE)_get_osfhandle(file->descriptor);
    char *next = bytes;
    while (size_bytes > 0) {
        OVERLAPPED place = {.Offset = (DWORD)offset, .OffsetHigh = (DWORD)(offset >> 32)};
        DWORD wanted = size_bytes < MOST_BYTES ? (DWORD)size_bytes : MOST_BYTES, got = 0;
        if (!ReadFile(handle, next, wanted, &got, &place) && GetLastError() != ERROR_HANDLE_EOF) {
            errno = EIO;
            return sqz_fail_io(error, file->path, "cannot be read");
        }
        if (got == 0)
            return sqz_fail(error, SQZ_BAD_FILE, "%s: became shorter while it was read",
                            file->path);
        next += got;
        offset += got;
        size_bytes -= got;
    }
    return SQZ_OK;
}

void sqz_file_close(sqz_file *file) {
    if (file->descriptor >= 0)
        _close(file->descriptor);
    file->descriptor = -1;
}
