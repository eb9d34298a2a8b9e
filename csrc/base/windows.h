/* windows.h: for the files named *_windows.c alone, which take the place of those without it where
 * the library is compiled for Windows: paths are UTF-8 everywhere else. */
#ifndef SQZ_BASE_WINDOWS_H
#define SQZ_BASE_WINDOWS_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <errno.h>
#include <stdlib.h>

/* The path in UTF-16, to be freed; NULL, and errno says why. */
static inline wchar_t *sqz_windows_path(const char *path) {
    int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, NULL, 0);
    wchar_t *wide = length > 0 ? malloc((size_t)length * sizeof *wide) : NULL;
    if (!wide) {
        errno = length > 0 ? ENOMEM : EILSEQ;
        return NULL;
    }
    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, length);
    return wide;
}

#endif
