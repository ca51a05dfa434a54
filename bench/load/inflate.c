/* Decompression: permessage-deflate's messages (RFC 7692 section 7.2.2) and HTTP's bodies. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>

static char *out;
static size_t out_capacity;

static void inflate_part(z_stream *z, const char *bytes, size_t length, size_t *done) {
    z->next_in = (Bytef *)bytes;
    z->avail_in = (uInt)length;
    do {
        if (out_capacity - *done < 1 << 16) out = realloc(out, out_capacity = 2 * out_capacity + (1 << 17));
        z->next_out = (Bytef *)out + *done;
        z->avail_out = (uInt)(out_capacity - *done);
        int status = inflate(z, Z_SYNC_FLUSH);
        *done = out_capacity - z->avail_out;
        if (status == Z_STREAM_END || status == Z_BUF_ERROR) return;
        if (status != Z_OK) {
            fprintf(stderr, "what the server compressed cannot be read: %s\n", z->msg ? z->msg : "zlib's error");
            exit(2);
        }
    } while (z->avail_in || !z->avail_out);
}

char *inflate_all(client *c, enum wrapping wrapping, bool afresh, const char *bytes, size_t length, size_t *inflated) {
    if (!c->inflater) {
        c->inflater = calloc(1, sizeof *c->inflater);
        inflateInit2(c->inflater, wrapping);
    } else if (afresh) {
        inflateReset(c->inflater);
    }
    *inflated = 0;
    inflate_part(c->inflater, bytes, length, inflated);
    if (wrapping == RAW) inflate_part(c->inflater, "\x00\x00\xff\xff", 4, inflated);
    return out;
}
