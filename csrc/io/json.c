/* json.c: see json.h. */
#include "json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- UTF-8 ------------------------------------------------------------------------------------- */

size_t sqz_utf8_length(const char *bytes, size_t size_bytes) {
    const unsigned char *b = (const unsigned char *)bytes;
    if (size_bytes == 0)
        return 0;
    if (b[0] < 0x80)
        return 1;
    size_t length = b[0] >= 0xF0 ? 4 : b[0] >= 0xE0 ? 3 : 2;
    if (b[0] < 0xC2 || b[0] > 0xF4 || length > size_bytes)
        return 0;
    /* The second byte is what keeps out overlong forms, surrogates and what lies past U+10FFFF. */
    unsigned char least = b[0] == 0xE0 ? 0xA0 : b[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char most = b[0] == 0xED ? 0x9F : b[0] == 0xF4 ? 0x8F : 0xBF;
    if (b[1] < least || b[1] > most)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((b[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

bool sqz_utf8_is_valid(const char *string) {
    size_t size_bytes = strlen(string);
    for (size_t at = 0, length; at < size_bytes; at += length)
        if ((length = sqz_utf8_length(string + at, size_bytes - at)) == 0)
            return false;
    return true;
}

/* Writes the character (not a surrogate, at most 0x10FFFF) and returns its length. */
static size_t put_utf8(char *out, unsigned character) {
    if (character < 0x80) {
        out[0] = (char)character;
        return 1;
    }
    size_t length = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (character & 0x3F));
        character >>= 6;
    }
    out[0] = (char)(lead[length] | character);
    return length;
}

/* -- The cursor -------------------------------------------------------------------------------- */

void sqz_json_start(sqz_json *json, char *text, size_t size_bytes, const char *name,
                    sqz_error *error) {
    *json = (sqz_json){.text = text, .size_bytes = size_bytes, .name = name, .error = error};
}

sqz_status sqz_json_fail(const sqz_json *json, const char *expected) {
    char found[32];
    unsigned char byte = json->at < json->size_bytes ? (unsigned char)json->text[json->at] : 0;
    if (json->at >= json->size_bytes)
        snprintf(found, sizeof found, "the end");
    else if (byte > 0x20 && byte < 0x7F)
        snprintf(found, sizeof found, "'%c'", byte);
    else
        snprintf(found, sizeof found, "byte 0x%02x", byte);
    return sqz_fail(json->error, SQZ_BAD_FILE, "%s: header byte %zu: found %s, expected %s",
                    json->name, json->at, found, expected);
}

static void skip_space(sqz_json *json) {
    while (json->at < json->size_bytes && json->text[json->at] &&
           strchr(" \t\n\r", json->text[json->at]))
        json->at++;
}

/* Skips white space; whether `wanted` comes next. */
static bool is_next(sqz_json *json, char wanted) {
    skip_space(json);
    return json->at < json->size_bytes && json->text[json->at] == wanted;
}

static sqz_status expect(sqz_json *json, char wanted) {
    const char expected[] = {'\'', wanted, '\'', '\0'};
    if (!is_next(json, wanted))
        return sqz_json_fail(json, expected);
    json->at++;
    return SQZ_OK;
}

sqz_status sqz_json_enter(sqz_json *json, char bracket) {
    SQZ_TRY(expect(json, bracket));
    json->fresh = true;
    return SQZ_OK;
}

sqz_status sqz_json_more(sqz_json *json, char closing, bool *more) {
    bool fresh = json->fresh;
    json->fresh = false;
    *more = !is_next(json, closing);
    if (!*more)
        json->at++;
    else if (!fresh && !is_next(json, ','))
        return sqz_json_fail(json, closing == '}' ? "',' or '}'" : "',' or ']'");
    else if (!fresh)
        json->at++;
    return SQZ_OK;
}

sqz_status sqz_json_end(sqz_json *json) {
    skip_space(json);
    return json->at < json->size_bytes ? sqz_json_fail(json, "nothing but spaces") : SQZ_OK;
}

sqz_status sqz_json_whole(sqz_json *json, int64_t *value) {
    skip_space(json);
    size_t start = json->at;
    int64_t sum = 0;
    while (json->at < json->size_bytes && json->text[json->at] >= '0' &&
           json->text[json->at] <= '9') {
        int digit = json->text[json->at] - '0';
        if (sum > (INT64_MAX - digit) / 10 || (json->at == start + 1 && sum == 0))
            return sqz_json_fail(json, "a whole number from 0 to 2^63 - 1, without leading zeros");
        sum = 10 * sum + digit;
        json->at++;
    }
    if (json->at == start || (json->at < json->size_bytes && json->text[json->at] &&
                              strchr(".eE+-", json->text[json->at])))
        return sqz_json_fail(json, "a whole number from 0 up");
    *value = sum;
    return SQZ_OK;
}

/* -- Strings ----------------------------------------------------------------------------------- */

/* The four digits of \uXXXX at the cursor. */
static sqz_status read_hex(sqz_json *json, unsigned *value) {
    *value = 0;
    for (int i = 0; i < 4; i++, json->at++) {
        char digit = json->at < json->size_bytes ? json->text[json->at] : '\0';
        if (digit >= '0' && digit <= '9')
            *value = *value * 16 + (unsigned)(digit - '0');
        else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
            *value = *value * 16 + (unsigned)((digit | 0x20) - 'a' + 10);
        else
            return sqz_json_fail(json, "four hexadecimal digits after \\u");
    }
    return SQZ_OK;
}

/* \uXXXX, the cursor after the u; characters past U+FFFF are two of them, a surrogate pair. */
static sqz_status read_unicode_escape(sqz_json *json, unsigned *character) {
    SQZ_TRY(read_hex(json, character));
    if (*character == 0)
        return sqz_json_fail(json, "no NUL character in a string");
    if (*character < 0xD800 || *character > 0xDFFF)
        return SQZ_OK;
    unsigned low = 0;
    if (*character < 0xDC00 && json->size_bytes - json->at >= 2 &&
        memcmp(json->text + json->at, "\\u", 2) == 0) {
        json->at += 2;
        SQZ_TRY(read_hex(json, &low));
    }
    if (low < 0xDC00 || low > 0xDFFF)
        return sqz_json_fail(json, "surrogates in pairs");
    *character = 0x10000 + ((*character - 0xD800) << 10) + (low - 0xDC00);
    return SQZ_OK;
}

/* An escape, the cursor after the backslash, decoded to out. */
static sqz_status read_escape(sqz_json *json, char **out) {
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char letter = json->at < json->size_bytes ? json->text[json->at] : '\0';
    const char *escape = letter ? strchr(escapes, letter) : NULL;
    if (!escape && letter != 'u')
        return sqz_json_fail(json, "one of \"\\/bfnrtu after a backslash");
    json->at++;
    if (escape) {
        *(*out)++ = meanings[escape - escapes];
        return SQZ_OK;
    }
    unsigned character;
    SQZ_TRY(read_unicode_escape(json, &character));
    *out += put_utf8(*out, character);
    return SQZ_OK;
}

sqz_status sqz_json_string(sqz_json *json, const char **string) {
    if (!is_next(json, '"'))
        return sqz_json_fail(json, "a string");
    char *out = json->text + ++json->at;
    *string = out;
    for (;;) {
        const char *in = json->text + json->at;
        size_t length = sqz_utf8_length(in, json->size_bytes - json->at);
        if (length == 0)
            return sqz_json_fail(json, json->at < json->size_bytes ? "UTF-8" : "'\"'");
        if (length == 1 && (unsigned char)*in < 0x20)
            return sqz_json_fail(json, "control characters in strings to be escaped");
        json->at += length;
        if (*in == '"')
            break;
        if (*in == '\\') {
            SQZ_TRY(read_escape(json, &out));
        } else {
            memmove(out, in, length);
            out += length;
        }
    }
    *out = '\0'; /* at the latest where the closing quote was */
    return SQZ_OK;
}

sqz_status sqz_json_key(sqz_json *json, const char **key) {
    SQZ_TRY(sqz_json_string(json, key));
    return expect(json, ':');
}

/* -- Writing ----------------------------------------------------------------------------------- */

/* Makes room for size_bytes more and a NUL; false, once and for all, if there is no memory. */
static bool reserve(sqz_json_text *text, size_t size_bytes) {
    if (text->failed || size_bytes < text->capacity_bytes - text->size_bytes)
        return !text->failed;
    size_t capacity = 2 * (text->size_bytes + size_bytes) + 256;
    char *grown = size_bytes < SIZE_MAX / 4 && text->size_bytes < SIZE_MAX / 4
                      ? realloc(text->bytes, capacity)
                      : NULL;
    text->failed = !grown;
    if (text->failed)
        return false;
    text->bytes = grown;
    text->capacity_bytes = capacity;
    return true;
}

void sqz_json_write(sqz_json_text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0)
        text->failed = true;
    else if (reserve(text, (size_t)length))
        text->size_bytes +=
            (size_t)vsnprintf(text->bytes + text->size_bytes, (size_t)length + 1, format, again);
    va_end(again);
    va_end(arguments);
}

void sqz_json_write_string(sqz_json_text *text, const char *string) {
    sqz_json_write(text, "\"");
    while (*string) {
        /* What needs no escape goes in one piece. */
        size_t plain = 0;
        while ((unsigned char)string[plain] >= 0x20 && string[plain] != '"' &&
               string[plain] != '\\')
            plain++;
        if (reserve(text, plain)) {
            memcpy(text->bytes + text->size_bytes, string, plain);
            text->size_bytes += plain;
        }
        string += plain;
        if (*string)
            sqz_json_write(text, "\\u%04x", (unsigned char)*string++);
    }
    sqz_json_write(text, "\"");
}
