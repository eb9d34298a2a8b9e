/* stb.c: see stb.h. The only file that includes stb_image.h (version 2.30), as statics, with the
 * three formats we read, without stdio and without its assert, which would abort. */
#include "stb.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

/* What a decoder of this thread may grow a buffer to, whether it wanted more, and whether there was
 * no memory: stb_image does not give that as the reason everywhere. */
static _Thread_local size_t grown_limit;
static _Thread_local bool wanted_more, out_of_memory;

static void *noted(void *memory) {
    out_of_memory = out_of_memory || !memory;
    return memory;
}

static void *limited_realloc(void *memory, size_t size_bytes) {
    if (size_bytes > grown_limit) {
        wanted_more = true;
        return NULL;
    }
    return noted(realloc(memory, size_bytes));
}

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_ASSERT(condition) ((void)0)
static void *allocate(size_t size_bytes);
#define STBI_MALLOC(size_bytes) allocate(size_bytes)
#define STBI_REALLOC(memory, size_bytes) limited_realloc(memory, size_bytes)
#define STBI_FREE(memory) free(memory)

/* Of this file alone: stb_image has many functions for us to leave unused, which GCC says at the
 * file's end, past any pop. The rest is silenced for the header only. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include "stb_image.h"
#pragma GCC diagnostic pop

/* A JPEG's data may end before its picture does, with an end marker put behind the cut. The decoder
 * then goes on with zero bits. It holds at most 32 bits, and a block takes at least two (a code for
 * DC, one for AC), so a 17th block since it last read a byte is made of nothing. (To count since it
 * met a marker will not do: in a scan of short restart intervals it meets one before every block.)
 * The baseline decoder transforms each block once it is read, and there we count. */
enum { MOST_BLOCKS_WITHOUT_READING = 16 };
typedef void (*block_kernel)(stbi_uc *out, int out_stride, short data[64]);
static _Thread_local struct {
    const stbi__jpeg *decoder;
    block_kernel transform;
    const stbi_uc *read_to;
    int blocks_without_reading;
    bool starved;
} watch;

/* Zeroed, so that a damaged file's undecoded parts are black and not what was in memory before. But
 * what a JPEG asks for once it has a line buffer is the picture (and other line buffers), all of
 * which it writes before it reads: to clear it first would cost 5 % of the decoding. */
static void *allocate(size_t size_bytes) {
    bool written_first = watch.decoder && watch.decoder->img_comp[0].linebuf;
    return noted(written_first ? malloc(size_bytes) : calloc(1, size_bytes));
}

static void watched_transform(stbi_uc *out, int out_stride, short data[64]) {
    const stbi_uc *read_to = watch.decoder->s->img_buffer;
    watch.blocks_without_reading = read_to == watch.read_to ? watch.blocks_without_reading + 1 : 0;
    watch.read_to = read_to;
    if (watch.blocks_without_reading > MOST_BLOCKS_WITHOUT_READING && !watch.decoder->progressive)
        watch.starved = true;
    watch.transform(out, out_stride, data);
}

static uint8_t *load_jpeg(stbi__context *source, int *w, int *h, const sqz_image_kernels *kernels) {
    int channels;
    stbi__jpeg *decoder = noted(calloc(1, sizeof *decoder));
    if (!decoder)
        return NULL;
    decoder->s = source;
    stbi__setup_jpeg(decoder);
    watch.decoder = decoder;
    watch.transform = kernels->jpeg_inverse_dct;
    watch.read_to = NULL;
    watch.blocks_without_reading = 0;
    decoder->idct_block_kernel = watched_transform;
    decoder->resample_row_hv_2_kernel = kernels->jpeg_upsample;
    decoder->YCbCr_to_RGB_kernel = kernels->jpeg_to_rgb;
    uint8_t *pixels = load_jpeg_image(decoder, w, h, &channels, 3);
    watch.decoder = NULL;
    free(decoder);
    return pixels;
}

sqz_status sqz_stb_decode(sqz_image *image, size_t *used_bytes, const uint8_t *bytes,
                          size_t size_bytes, size_t grown_limit_bytes, const char *format,
                          const char *name, sqz_error *error) {
    *image = (sqz_image){0};
    const sqz_image_kernels *kernels;
    SQZ_TRY(sqz_image_kernels_find(&kernels, error));
    if (size_bytes > INT_MAX)
        return sqz_fail(error, SQZ_BAD_FILE, "%s: has %zu bytes, expected at most %d", name,
                        size_bytes, INT_MAX);
    grown_limit = grown_limit_bytes;
    wanted_more = out_of_memory = false;
    stbi__g_failure_reason = "no reason given"; /* thread-local, as grown_limit is */

    /* The public stbi_load_from_memory, but watched, and for the position it stops at. */
    stbi__context source = {0};
    int w = 0, h = 0, channels = 0;
    stbi__start_mem(&source, bytes, (int)size_bytes);
    watch.starved = false;
    uint8_t *pixels = stbi__jpeg_test(&source)
                          ? load_jpeg(&source, &w, &h, kernels)
                          : stbi__load_and_postprocess_8bit(&source, &w, &h, &channels, 3);
    *used_bytes = (size_t)(source.img_buffer - source.img_buffer_original);
    if (pixels && watch.starved) {
        free(pixels);
        return sqz_fail(error, SQZ_BAD_FILE,
                        "%s: the JPEG is cut short (its data end before the picture does)", name);
    }
    if (pixels) {
        *image = (sqz_image){.h = h, .w = w, .pixels = pixels};
        return SQZ_OK;
    }
    if (wanted_more)
        return sqz_fail(error, SQZ_BAD_FILE,
                        "%s: the %s's data unpack to more than its width and height need", name,
                        format);
    if (out_of_memory)
        return sqz_fail(error, SQZ_NO_MEMORY, "%s: out of memory while decoding the %s", name,
                        format);
    return sqz_fail(error, SQZ_BAD_FILE, "%s: the %s cannot be decoded (%s)", name, format,
                    stbi_failure_reason());
}
