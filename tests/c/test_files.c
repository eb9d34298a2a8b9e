/* test_files.c: whole files, read through the one door and written through the other. */
#include "check.h"
#include "windows_calls.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_round_trip(const char *path) {
    sqz_error error;
    sqz_file file;
    char bytes[8] = {0};
    CHECK_OK(sqz_file_write(path, "abcdef", 6, &error), error);
    CHECK_OK(sqz_file_open(&file, path, 6, &error), error);
    CHECK(file.size_bytes == 6);
    CHECK_OK(sqz_file_read(&file, bytes, 3, 2, &error), error);
    CHECK(strcmp(bytes, "cde") == 0);
    CHECK_FAILS(sqz_file_read(&file, bytes, 5, 2, &error), error, SQZ_BAD_FILE,
                "became shorter while it was read");
    sqz_file_close(&file);
    sqz_file_close(&file); /* nothing more happens */
    CHECK(file.descriptor == -1);
    CHECK_FAILS(sqz_file_open(&file, path, 5, &error), error, SQZ_BAD_FILE,
                "has 6 bytes, expected at most 5");
    CHECK(file.descriptor == -1);
}

static void test_what_is_no_file(const char *folder, const char *pipe) {
    sqz_error error;
    sqz_file file;
    CHECK_FAILS(sqz_file_open(&file, folder, -1, &error), error, SQZ_IO, "cannot be read");
#ifdef _WIN32 /* which has no such files, and no such error */
    (void)pipe;
    CHECK(error.system_errno == EACCES);
#else
    CHECK(error.system_errno == EISDIR);
    CHECK(mkfifo(pipe, 0600) == 0);
    CHECK_FAILS(sqz_file_open(&file, pipe, -1, &error), error, SQZ_BAD_FILE, "no regular file");
    CHECK_FAILS(sqz_file_write(pipe, "", 0, &error), error, SQZ_IO, "cannot be written");
    CHECK(remove(pipe) == 0);
#endif
    CHECK_FAILS(sqz_file_write(folder, "", 0, &error), error, SQZ_IO, "cannot be written");
    CHECK_FAILS(sqz_file_open(&file, "no such file", -1, &error), error, SQZ_IO, "cannot be read");
}

static void test_left_behind(const char *folder, const char *path) {
    sqz_error error;
    char left[128];
    snprintf(left, sizeof left, "%s/.sqz-00000000-1-0.tmp", folder); /* another machine's */
    CHECK_OK(sqz_file_write(left, "abc", 3, &error), error);
    CHECK_OK(sqz_file_write(path, "abc", 3, &error), error);
#ifdef _WIN32
    CHECK(remove(left) != 0); /* nobody has it open, so the second write has removed it */
#else
    CHECK(remove(left) == 0); /* too young to be removed by the second write */
#endif
    CHECK(remove(path) == 0);
}

void test_files(void) {
    char folder[] = "files-XXXXXX", path[64], pipe[64];
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    test_round_trip(path);
    test_what_is_no_file(folder, pipe);
    test_left_behind(folder, path);
    CHECK(rmdir(folder) == 0); /* so nothing else is in it */
}
