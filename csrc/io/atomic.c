/* atomic.c: see atomic.h. */
#include "atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Tells apart the temporary files of one process. */
static atomic_uint next_number;

/* How many names of temporary files are tried, should a crash have left some behind. */
enum { MAX_TRIES = 1000 };

static sqz_status fail(const sqz_atomic_file *file, sqz_error *error) {
    return sqz_fail_io(error, file->path, "cannot be written");
}

static void release(sqz_atomic_file *file) {
    free(file->target);
    free(file->temporary);
    *file = (sqz_atomic_file){.descriptor = -1};
}

/* The length of the folder's part of a path, its last slash included. */
static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* Creates the temporary file. Its name does not contain the target's, which may be as long as a
 * name can be. open() itself applies the umask, which cannot be read without changing it. */
static sqz_status create_temporary(sqz_atomic_file *file, sqz_error *error) {
    size_t folder = folder_length(file->target), capacity = folder + 64;
    file->temporary = malloc(capacity);
    if (!file->temporary)
        return sqz_fail_memory(error, "a file's name", capacity);
    memcpy(file->temporary, file->target, folder);
    for (int tries = 0; tries < MAX_TRIES; tries++) {
        snprintf(file->temporary + folder, capacity - folder, ".sqz-%ld-%u.tmp", (long)getpid(),
                 atomic_fetch_add(&next_number, 1u));
        file->descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->descriptor >= 0)
            return SQZ_OK;
        if (errno != EEXIST)
            break;
    }
    return fail(file, error);
}

sqz_status sqz_atomic_open(sqz_atomic_file *file, const char *path, sqz_error *error) {
    *file = (sqz_atomic_file){.path = path, .descriptor = -1};
    file->target = realpath(path, NULL); /* NULL if it is not there yet */
    if (!file->target)
        file->target = strdup(path);
    if (!file->target)
        return sqz_fail_memory(error, "a file's name", strlen(path));
    struct stat about;
    bool exists = stat(file->target, &about) == 0;
    sqz_status status = SQZ_OK;
    if (exists && !S_ISREG(about.st_mode)) { /* renaming would replace a device, say */
        errno = S_ISDIR(about.st_mode) ? EISDIR : EINVAL;
        status = fail(file, error);
    } else {
        status = create_temporary(file, error);
    }
    if (status != SQZ_OK)
        release(file);
    else if (exists && fchmod(file->descriptor, about.st_mode & 0777) != 0)
        errno = 0; /* some file systems have no permissions to keep: the umask's will do */
    return status;
}

sqz_status sqz_atomic_write(sqz_atomic_file *file, const void *bytes, size_t size_bytes,
                            sqz_error *error) {
    const char *next = bytes;
    while (size_bytes > 0) {
        ssize_t written = write(file->descriptor, next, size_bytes);
        if (written < 0 && errno != EINTR)
            return fail(file, error);
        if (written > 0) {
            next += written;
            size_bytes -= (size_t)written;
        }
    }
    return SQZ_OK;
}

/* Makes the rename last through a power cut. The file is in place whatever comes of it, and some
 * file systems cannot do it, so there is nothing to report. */
static void sync_folder(const sqz_atomic_file *file) {
    size_t length = folder_length(file->target);
    file->temporary[length] = '\0'; /* the same folder; the name has served */
    int folder = open(length ? file->temporary : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return;
    fsync(folder);
    close(folder);
}

sqz_status sqz_atomic_commit(sqz_atomic_file *file, sqz_error *error) {
    bool synced = fsync(file->descriptor) == 0;
    if (!synced) {
        sqz_status status = fail(file, error);
        sqz_atomic_abandon(file);
        return status;
    }
    bool closed = close(file->descriptor) == 0;
    file->descriptor = -1;
    if (!closed || rename(file->temporary, file->target) != 0) {
        sqz_status status = fail(file, error);
        sqz_atomic_abandon(file);
        return status;
    }
    sync_folder(file);
    release(file);
    return SQZ_OK;
}

void sqz_atomic_abandon(sqz_atomic_file *file) {
    if (file->descriptor >= 0)
        close(file->descriptor);
    unlink(file->temporary);
    release(file);
}
