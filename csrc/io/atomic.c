/* atomic.c: see atomic.h.
 *
 * A process that is killed while it writes leaves its temporary file. Whoever next writes into the
 * folder removes it: a writer holds a lock on its file, which the system releases when the process
 * ends in whatever way, so a file that can be locked is nobody's. Where the file system has no
 * locks, nothing can be locked and nothing is removed. */
#include "atomic.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
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

/* -- Temporary files --------------------------------------------------------------------------- */

/* FNV-1a of this machine's name. */
static unsigned machine_number(void) {
    struct utsname about;
    uint32_t hash = 2166136261u;
    if (uname(&about) == 0)
        for (const char *at = about.nodename; *at; at++)
            hash = (hash ^ (unsigned char)*at) * 16777619u;
    return hash;
}

static int open_in(int folder, const char *path, int flags) {
    int descriptor;
    do
        descriptor = openat(folder, path, flags | O_CLOEXEC, 0666);
    while (descriptor < 0 && errno == EINTR);
    return descriptor;
}

/* Whether the name is a temporary file's, and which machine's. */
static bool name_is_temporary(const char *name, unsigned *machine) {
    int length = 0;
    return sscanf(name, ".sqz-%8x-%*d-%*u.tmp%n", machine, &length) == 1 && length > 0 &&
           name[length] == '\0';
}

/* Whether the file's writer is dead. The file is locked then. Locks of another machine may not be
 * seen through a network folder, so its files have to be a day old too, by the folder's clock. */
static bool is_left_behind(int descriptor, bool own_machine, const struct stat *fresh) {
    struct stat about;
    enum { DAY_SECONDS = 24 * 60 * 60 };
    if (fstat(descriptor, &about) != 0 || !S_ISREG(about.st_mode))
        return false;
    if (!own_machine && fresh->st_mtime - about.st_mtime < DAY_SECONDS)
        return false;
    return flock(descriptor, LOCK_EX | LOCK_NB) == 0;
}

/* Removes what dead writers have left in the folder of `file`, a temporary file just made. What
 * cannot be removed stays: it is in nobody's way. */
static void remove_left_behind(const sqz_atomic_file *file) {
    size_t length = folder_length(file->temporary);
    char *path = length ? strndup(file->temporary, length) : strdup(".");
    DIR *folder = path ? opendir(path) : NULL;
    free(path);
    if (!folder)
        return;
    struct stat fresh;
    bool known = fstat(file->descriptor, &fresh) == 0;
    for (struct dirent *entry; known && (entry = readdir(folder));) {
        unsigned machine;
        if (!name_is_temporary(entry->d_name, &machine) ||
            strcmp(entry->d_name, file->temporary + length) == 0)
            continue;
        /* O_RDWR: over NFS an exclusive lock is for writers only. */
        int descriptor = open_in(dirfd(folder), entry->d_name, O_RDWR | O_NONBLOCK | O_NOFOLLOW);
        if (descriptor < 0)
            continue;
        if (is_left_behind(descriptor, machine == machine_number(), &fresh))
            unlinkat(dirfd(folder), entry->d_name, 0);
        close(descriptor); /* the lock with it */
    }
    closedir(folder);
}

/* Locks the new file. False where another writer locked it first, to remove it. */
static bool lock_fresh(int descriptor) {
    struct stat about;
    int locked;
    do
        locked = flock(descriptor, LOCK_EX | LOCK_NB);
    while (locked != 0 && errno == EINTR);
    if (locked != 0 && errno == EWOULDBLOCK)
        return false;
    return fstat(descriptor, &about) == 0 && about.st_nlink > 0; /* 0: it is removed already */
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
        snprintf(file->temporary + folder, capacity - folder, ".sqz-%08x-%ld-%u.tmp",
                 machine_number(), (long)getpid(), atomic_fetch_add(&next_number, 1u));
        file->descriptor = open_in(AT_FDCWD, file->temporary, O_WRONLY | O_CREAT | O_EXCL);
        if (file->descriptor < 0 && errno != EEXIST)
            break;
        if (file->descriptor < 0)
            continue;
        if (lock_fresh(file->descriptor)) {
            remove_left_behind(file);
            return SQZ_OK;
        }
        close(file->descriptor);
        file->descriptor = -1;
        unlink(file->temporary);
        errno = EAGAIN;
    }
    return fail(file, error);
}

/* -- Writing ----------------------------------------------------------------------------------- */

sqz_status sqz_atomic_open(sqz_atomic_file *file, const char *path, sqz_error *error) {
    *file = (sqz_atomic_file){.path = path, .descriptor = -1};
    file->target = realpath(path, NULL); /* NULL if it is not there yet */
    if (!file->target && errno != ENOMEM)
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
    int folder = open_in(AT_FDCWD, length ? file->temporary : ".", O_RDONLY | O_DIRECTORY);
    if (folder < 0)
        return;
    fsync(folder);
    close(folder);
}

/* Renamed while it is open, and so locked. Closing can tell nothing that fsync has not. */
sqz_status sqz_atomic_commit(sqz_atomic_file *file, sqz_error *error) {
    int synced;
    do
        synced = fsync(file->descriptor);
    while (synced != 0 && errno == EINTR);
    if (synced != 0 || rename(file->temporary, file->target) != 0) {
        sqz_status status = fail(file, error);
        sqz_atomic_abandon(file);
        return status;
    }
    close(file->descriptor);
    sync_folder(file);
    release(file);
    return SQZ_OK;
}

void sqz_atomic_abandon(sqz_atomic_file *file) {
    unlink(file->temporary); /* before its lock goes */
    close(file->descriptor);
    release(file);
}
