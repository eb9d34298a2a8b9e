/* preload.c: a library for LD_PRELOAD under which files go wrong. It counts what a process does to
 * the files below a folder: opens that create, writes, fsyncs, renames and unlinks. At the one that
 * is asked for it ends the process as kill -9 would, or lets the call fail.
 *
 *     SQZ_FAULT_FOLDER   absolute, links followed: what lies elsewhere is let alone
 *     SQZ_FAULT          KIND:PLACE:WHAT. KIND is open, write, fsync, rename or unlink; PLACE
 * counts from 1; WHAT is kill (before the call), half (write half of it, then kill) or a number for
 * errno, behind which + says: this call and all that follow SQZ_FAULT_COUNT    a file for how many
 * calls of each kind there were, a line of kind and number each, once the process ends
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static struct {
    char kind[16], what[16];
    long place;
    const char *folder, *count_file;
} fault;
enum kind { OPEN, WRITE, FSYNC, RENAME, UNLINK, KINDS };
static const char *const names[KINDS] = {"open", "write", "fsync", "rename", "unlink"};
static long counts[KINDS];

#define NEXT(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

/* Anew, for a process that tries several faults: as the environment would say it. */
__attribute__((visibility("default"))) void sqz_fault_set(const char *folder, const char *text);
void sqz_fault_set(const char *folder, const char *text) {
    memset(counts, 0, sizeof counts);
    fault.folder = folder;
    if (text && sscanf(text, "%15[^:]:%ld:%15s", fault.kind, &fault.place, fault.what) != 3)
        abort();
}

__attribute__((constructor)) static void start(void) {
    fault.count_file = getenv("SQZ_FAULT_COUNT");
    sqz_fault_set(getenv("SQZ_FAULT_FOLDER"), getenv("SQZ_FAULT"));
}

__attribute__((destructor)) static void end(void) {
    FILE *file = fault.count_file ? fopen(fault.count_file, "w") : NULL;
    if (file) {
        for (int kind = 0; kind < KINDS; kind++)
            fprintf(file, "%s %ld\n", names[kind], counts[kind]);
        fclose(file);
    }
}

static int is_below(const char *path) {
    size_t length = fault.folder ? strlen(fault.folder) : 0;
    return length && strncmp(path, fault.folder, length) == 0;
}

static int is_open_below(int descriptor) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    return is_below(path);
}

/* Whether this call is to fail, errno set. It may not return. */
static int fails(enum kind kind) {
    long place = __atomic_add_fetch(&counts[kind], 1, __ATOMIC_RELAXED);
    if (strcmp(fault.kind, names[kind]) != 0)
        return 0;
    int from_here_on = strchr(fault.what, '+') != NULL;
    if (place < fault.place || (place > fault.place && !from_here_on))
        return 0;
    if (strcmp(fault.what, "kill") == 0)
        kill(getpid(), SIGKILL);
    errno = atoi(fault.what);
    return errno != 0;
}

ssize_t write(int descriptor, const void *bytes, size_t size) {
    if (!is_open_below(descriptor))
        return NEXT(write)(descriptor, bytes, size);
    int halved = strcmp(fault.kind, "write") == 0 && strcmp(fault.what, "half") == 0 &&
                 counts[WRITE] + 1 == fault.place;
    if (fails(WRITE))
        return -1;
    ssize_t written = NEXT(write)(descriptor, bytes, halved ? size / 2 : size);
    if (halved)
        kill(getpid(), SIGKILL);
    return written;
}

int fsync(int descriptor) {
    return is_open_below(descriptor) && fails(FSYNC) ? -1 : NEXT(fsync)(descriptor);
}

int rename(const char *from, const char *to) {
    return is_below(to) && fails(RENAME) ? -1 : NEXT(rename)(from, to);
}

int unlink(const char *path) {
    return is_below(path) && fails(UNLINK) ? -1 : NEXT(unlink)(path);
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define OPENS(name, first, first_argument, comma)                                                  \
    int name(first comma const char *path, int flags, ...) {                                       \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = mode_of(flags, arguments);                                                   \
        va_end(arguments);                                                                         \
        if (flags & O_CREAT && is_below(path) && fails(OPEN))                                      \
            return -1;                                                                             \
        return NEXT(name)(first_argument comma path, flags, mode);                                 \
    }
#define COMMA ,
#define NOTHING
OPENS(open, NOTHING, NOTHING, NOTHING)
OPENS(open64, NOTHING, NOTHING, NOTHING)
OPENS(openat, int folder, folder, COMMA)
OPENS(openat64, int folder, folder, COMMA)
