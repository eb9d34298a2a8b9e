/* json.h: the part of JSON (RFC 8259) that a safetensors header is made of: objects, arrays,
 * strings and whole numbers from 0 up.
 *
 * The reader is a cursor over a text: the caller, who knows what must come, asks for it piece by
 * piece, and anything else is an error. There is no tree, so nothing recurses and nothing is
 * allocated, however hostile the text. Errors are SQZ_BAD_FILE and name the byte, what was found
 * and what was expected. */
#ifndef SQZ_IO_JSON_H
#define SQZ_IO_JSON_H

#include "../base/status.h"

typedef struct {
    char *text; /* strings are decoded in place: a decoded string is never longer */
    size_t size_bytes, at;
    const char *name; /* the file, for errors */
    bool fresh;       /* the cursor stands right after an opening bracket */
    sqz_error *error;
} sqz_json;

void sqz_json_start(sqz_json *json, char *text, size_t size_bytes, const char *name,
                    sqz_error *error);

/* Fails with "NAME: header byte AT: found ..., expected EXPECTED". */
sqz_status sqz_json_fail(const sqz_json *json, const char *expected);

/* An opening bracket: '{' or '['. */
sqz_status sqz_json_enter(sqz_json *json, char bracket);
/* *more is whether another element follows (its comma is eaten), or else the container ends here
 * (its closing bracket, '}' or ']', is eaten). */
sqz_status sqz_json_more(sqz_json *json, char closing, bool *more);
/* A key and its colon. The string is UTF-8 without NUL and stays valid as long as the text. */
sqz_status sqz_json_key(sqz_json *json, const char **key);
sqz_status sqz_json_string(sqz_json *json, const char **string);
/* 0 .. 2^63 - 1, without sign, fraction or exponent. */
sqz_status sqz_json_whole(sqz_json *json, int64_t *value);
/* Nothing but white space is left. */
sqz_status sqz_json_end(sqz_json *json);

/* A text that grows as it is written. After a failed allocation `failed` is set and writing does
 * nothing; look at it once, at the end. */
typedef struct {
    char *bytes; /* owned: free it */
    size_t size_bytes, capacity_bytes;
    bool failed;
} sqz_json_text;
void sqz_json_write(sqz_json_text *text, const char *format, ...) SQZ_PRINTF(2, 3);
/* A string in quotes, escaped. It must be valid UTF-8. */
void sqz_json_write_string(sqz_json_text *text, const char *string);

/* The length of the UTF-8 character at bytes (Unicode 15, table 3-7: no surrogates, no overlong
 * forms, at most U+10FFFF); 0 if there is no valid one within size_bytes. */
size_t sqz_utf8_length(const char *bytes, size_t size_bytes);
bool sqz_utf8_is_valid(const char *string);

#endif
