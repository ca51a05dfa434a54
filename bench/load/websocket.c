/* The WebSocket transport: RFC 6455, and permessage-deflate (RFC 7692) in the server's direction. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a session that polling has begun, or of a new one. */
void open_websocket(client *c) {
    char request[640];
    open_connection(&c->main);
    send_all(&c->main, request, (size_t)snprintf(request, sizeof request,
        "GET /socket.io/?EIO=4&transport=websocket%s%s HTTP/1.1\r\n"
        "Host: localhost:%d\r\nOrigin: http://localhost:3000\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", *c->sid ? "&sid=" : "", c->sid, c->port,
        options.deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : ""));
}

/* A masked text frame; the mask is zero, so the payload goes as it is. */
void send_text(client *c, const char *text, size_t length) {
    static char *frame;
    static size_t capacity;
    if (capacity < length + 14) frame = realloc(frame, capacity = length + 14);
    size_t h = 0;
    frame[h++] = (char)0x81;
    if (length < 126) {
        frame[h++] = (char)(0x80 | length);
    } else if (length < 65536) {
        frame[h++] = (char)(0x80 | 126);
        frame[h++] = (char)(length >> 8);
        frame[h++] = (char)length;
    } else {
        frame[h++] = (char)(0x80 | 127);
        for (int shift = 56; shift >= 0; shift -= 8) frame[h++] = (char)(length >> shift);
    }
    memset(frame + h, 0, 4);
    h += 4;
    memcpy(frame + h, text, length);
    send_all(&c->main, frame, h + length);
}

static size_t take_upgrade(client *c, char *bytes, size_t length) {
    char *end = memmem(bytes, length, "\r\n\r\n", 4);
    if (!end) return 0;
    *end = 0;
    if (length < 12 || memcmp(bytes, "HTTP/1.1 101", 12)) {
        fprintf(stderr, "not upgraded: %s\n", bytes);
        exit(2);
    }
    c->upgraded = true;
    c->keeps_context = !strcasestr(bytes, "server_no_context_takeover");
    if (*c->sid) send_text(c, "2probe", 6);
    return (size_t)(end - bytes) + 4;
}

static void on_frame(client *c, int first, char *payload, size_t length) {
    int opcode = first & 15;
    bool compressed = first & 0x40;
    if (opcode == 8) {
        lose(c, "the server closed a WebSocket", 29);
    } else if (!(first & 0x80) || opcode == 0) {
        fprintf(stderr, "the server sent a message in fragments, which is not supported\n");
        exit(2);
    } else if (opcode == 1) {
        if (compressed) payload = inflate_all(c, RAW, !c->keeps_context, payload, length, &length);
        on_text(c, payload, length, compressed);
    }
}

static size_t take_frames(connection *from, char *bytes, size_t available) {
    client *c = from->client;
    size_t at = c->upgraded ? 0 : take_upgrade(c, bytes, available);
    while (c->upgraded && !c->gone && available - at >= 2) {
        const unsigned char *f = (unsigned char *)bytes + at;
        uint64_t length = f[1] & 127;
        size_t header = length == 126 ? 4 : length == 127 ? 10 : 2;
        if (available - at < header) break;
        if (header > 2) {
            length = 0;
            for (size_t i = 2; i < header; i++) length = length << 8 | f[i];
        }
        if (available - at < header + length) break;
        on_frame(c, f[0], bytes + at + header, length);
        at += header + length;
    }
    return at;
}

static void end_websocket(connection *c) { lose(c->client, "the server closed a connection", 30); }

const transport WEBSOCKET = {open_websocket, send_text, take_frames, end_websocket};
