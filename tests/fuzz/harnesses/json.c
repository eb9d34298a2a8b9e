/* json.c: a text through the cursor of io/json.h, asked at each place for what its next byte says;
 * its strings, written and read again, are the same. */
#include "harness.h"

#include "io/json.h"

enum { MOST_DEPTH = 32 };

static void check_string(const char *string) {
    sqz_json_text text = {0};
    sqz_json json;
    sqz_error error;
    const char *again;
    EXPECT(sqz_utf8_is_valid(string));
    sqz_json_write_string(&text, string);
    EXPECT(!text.failed && text.size_bytes >= strlen(string) + 2);
    sqz_json_start(&json, text.bytes, text.size_bytes, "written", &error);
    EXPECT(sqz_json_string(&json, &again) == SQZ_OK && sqz_json_end(&json) == SQZ_OK);
    EXPECT(strcmp(string, again) == 0);
    free(text.bytes);
}

/* Whatever comes next, up to MOST_DEPTH brackets deep. */
static sqz_status read_any(sqz_json *json) {
    char closings[MOST_DEPTH];
    int depth = 0;
    const char *string;
    int64_t number;
    bool more;
    for (;;) {
        while (json->at < json->size_bytes && strchr(" \t\r\n", json->text[json->at]) &&
               json->text[json->at])
            json->at++;
        char next = json->at < json->size_bytes ? json->text[json->at] : '\0';
        if ((next == '{' || next == '[') && depth < MOST_DEPTH) {
            SQZ_TRY(sqz_json_enter(json, next));
            closings[depth++] = next == '{' ? '}' : ']';
        } else if (next == '"') {
            SQZ_TRY(sqz_json_string(json, &string));
            check_string(string);
        } else {
            SQZ_TRY(sqz_json_whole(json, &number));
            EXPECT(number >= 0);
        }
        for (;;) {
            if (depth == 0)
                return SQZ_OK;
            SQZ_TRY(sqz_json_more(json, closings[depth - 1], &more));
            if (more)
                break;
            depth--;
        }
        if (closings[depth - 1] == '}') {
            SQZ_TRY(sqz_json_key(json, &string));
            check_string(string);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sqz_json json;
    sqz_error error;
    char *text = malloc(size ? size : 1); /* of just its size, so that one byte more is noticed */
    EXPECT(text);
    memcpy(text, data, size);
    sqz_json_start(&json, text, size, "text", &error);
    harness_accepted(sqz_json_end(&json), &error);
    sqz_json_start(&json, text, size, "text", &error);
    sqz_status status = read_any(&json);
    EXPECT(json.at <= size);
    if (harness_accepted(status, &error))
        harness_accepted(sqz_json_end(&json), &error);
    free(text);
    return 0;
}
