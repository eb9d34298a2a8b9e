/* atomic_windows.c: atomic.c for Windows. A file that is open is nobody else's to delete, so what
 * dead writers have left can be told by trying; there is no folder to sync, and permissions are the
 * folder's. */
#include "../base/windows.h"

#include "atomic.h"

#include <fcntl.h>
#include <io.h>
#include <process.h>
#include <share.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static atomic_uint next_number; /* tells apart the temporary files of one process */

enum { MAX_TRIES = 1000 };

static sqz_status fail(const sqz_atomic_file *file, sqz_error *error) {
    return sqz_fail_io(error, file->path, "cannot be written");
}

static void release(sqz_atomic_file *file) {
    free(file->target);
    free(file->temporary);
    *file = (sqz_atomic_file){.descriptor = -1};
}

/* The length of the folder's part of a path, its last separator included. */
static size_t folder_length(const char *path) {
    size_t length = strlen(path);
    while (length > 0 && !strchr("/\\:", path[length - 1]))
        length--;
    return length;
}

/* Deletes the temporary files of the folder but this one; the system refuses those that are being
 * written. */
static void remove_left_behind(const sqz_atomic_file *file) {
    size_t folder = folder_length(file->temporary);
    char *pattern = malloc(folder + 16);
    if (!pattern)
        return;
    memcpy(pattern, file->temporary, folder);
    strcpy(pattern + folder, ".sqz-*.tmp");
    wchar_t *wide = sqz_windows_path(pattern);
    WIN32_FIND_DATAW found;
    HANDLE search = wide ? FindFirstFileW(wide, &found) : INVALID_HANDLE_VALUE;
    free(wide);
    if (search != INVALID_HANDLE_VALUE) {
        pattern[folder] = '\0';
        wchar_t *prefix = sqz_windows_path(pattern);
        do {
            wchar_t path[MAX_PATH];
            if (prefix && _snwprintf(path, MAX_PATH, L"%ls%ls", prefix, found.cFileName) > 0)
                DeleteFileW(path);
        } while (FindNextFileW(search, &found));
        FindClose(search);
        free(prefix);
    }
    free(pattern);
}

static int create(const char *path) {
    int descriptor = -1;
    wchar_t *wide = sqz_windows_path(path);
    if (wide)
        _wsopen_s(&descriptor, wide, _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY | _O_NOINHERIT,
                  _SH_DENYRW, _S_IREAD | _S_IWRITE);
    free(wide);
    return descriptor;
}

sqz_status sqz_atomic_open(sqz_atomic_file *file, const char *path, sqz_error *error) {
    *file = (sqz_atomic_file){.path = path, .descriptor = -1};
    size_t folder = folder_length(path), capacity = folder + 64;
    file->target = strdup(path);
    file->temporary = malloc(capacity);
    if (!file->target || !file->temporary) {
        release(file);
        return sqz_fail_memory(error, "a file's name", strlen(path) + capacity);
    }
    memcpy(file->temporary, path, folder);
    for (int tries = 0; tries < MAX_TRIES && file->descriptor < 0; tries++) {
        snprintf(file->temporary + folder, capacity - folder, ".sqz-%d-%u.tmp", _getpid(),
                 atomic_fetch_add(&next_number, 1u));
        file->descriptor = create(file->temporary);
        if (file->descriptor < 0 && errno != EEXIST)
            break;
    }
    if (file->descriptor >= 0) {
        remove_left_behind(file);
        return SQZ_OK;
    }
    sqz_status status = sqz_fail_io(error, path, "cannot be written");
    release(file);
    return status;
}

sqz_status sqz_atomic_write(sqz_atomic_file *file, const void *bytes, size_t size_bytes,
                            sqz_error *error) {
    enum { MOST_BYTES = 1 << 30 }; /* of a call, which counts them in 32 bits */
    const char *next = bytes;
    while (size_bytes > 0) {
        unsigned wanted = size_bytes < MOST_BYTES ? (unsigned)size_bytes : MOST_BYTES;
        int written = _write(file->descriptor, next, wanted);
        if (written < 0)
            return fail(file, error);
        next += written;
        size_bytes -= (size_t)written;
    }
    return SQZ_OK;
}

/* Closed first: a file that is open cannot be renamed. */
sqz_status sqz_atomic_commit(sqz_atomic_file *file, sqz_error *error) {
    int synced = _commit(file->descriptor);
    int closed = _close(file->descriptor);
    file->descriptor = -1;
    wchar_t *from = sqz_windows_path(file->temporary), *to = sqz_windows_path(file->target);
    bool moved = false;
    if (synced == 0 && closed == 0 && from && to) {
        moved = MoveFileExW(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH);
        if (!moved)
            errno = EACCES; /* as where the target is a folder, or open */
    }
    free(from);
    free(to);
    if (!moved) {
        sqz_status status = fail(file, error);
        sqz_atomic_abandon(file);
        return status;
    }
    release(file);
    return SQZ_OK;
}

void sqz_atomic_abandon(sqz_atomic_file *file) {
    if (file->descriptor >= 0)
        _close(file->descriptor);
    wchar_t *wide = sqz_windows_path(file->temporary);
    if (wide)
        DeleteFileW(wide);
    free(wide);
    release(file);
}
