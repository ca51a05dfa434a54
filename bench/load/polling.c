/* The HTTP long-polling transport: a connection for GETs, of which one is always open, and one for POSTs. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SEPARATOR '\x1e'

typedef struct {
    int status;
    char *body;
    size_t length, whole; /* of the body, and of the response with its head */
    bool compressed;
} response;

static void request(connection *to, const char *method, const char *body, size_t length) {
    static char *bytes;
    static size_t capacity;
    client *c = to->client;
    if (capacity < length + 512) bytes = realloc(bytes, capacity = length + 512);
    if (to->fd < 0) open_connection(to);
    size_t head = (size_t)snprintf(bytes, capacity, "%s /socket.io/?EIO=4&transport=polling%s%s HTTP/1.1\r\n"
        "Host: localhost:%d\r\nOrigin: http://localhost:3000\r\n%s", method, *c->sid ? "&sid=" : "", c->sid,
        c->port, options.deflate ? "Accept-Encoding: gzip, deflate\r\n" : "");
    if (body) head += (size_t)snprintf(bytes + head, capacity - head,
        "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %zu\r\n", length);
    head += (size_t)snprintf(bytes + head, capacity - head, "\r\n");
    if (body) memcpy(bytes + head, body, length);
    send_all(to, bytes, head + length);
}

static void poll_again(client *c) { request(&c->main, "GET", NULL, 0); }

static void post(client *c) {
    c->posting = true;
    request(&c->post, "POST", c->unsent, c->unsent_length);
    c->unsent_length = 0;
}

static void send_packet(client *c, const char *text, size_t length) {
    size_t needed = c->unsent_length + length + 1;
    if (needed > c->unsent_capacity) c->unsent = realloc(c->unsent, c->unsent_capacity = 2 * needed);
    if (c->unsent_length) c->unsent[c->unsent_length++] = SEPARATOR;
    memcpy(c->unsent + c->unsent_length, text, length);
    c->unsent_length += length;
    if (!c->posting) post(c);
}

static const char *header(const char *head, const char *name) {
    size_t n = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (!strncasecmp(line, name, n) && line[n] == ':') return line + n + 1 + strspn(line + n + 1, " ");
    }
    return NULL;
}

/* Join a body's chunks (RFC 9112 section 7.1); nothing if they are not all there. Returns the length as sent. */
static size_t take_chunks(const char *bytes, size_t available, response *r) {
    static char *body;
    static size_t capacity;
    if (capacity < available) body = realloc(body, capacity = 2 * available);
    r->body = body;
    r->length = 0;
    for (size_t at = 0;;) {
        const char *line = memmem(bytes + at, available - at, "\r\n", 2);
        if (!line) return 0;
        size_t size = strtoul(bytes + at, NULL, 16);
        at = (size_t)(line - bytes) + 2;
        if (available - at < size + 2) return 0;
        memcpy(body + r->length, bytes + at, size);
        r->length += size;
        at += size + 2;
        if (!size) return at;
    }
}

/* A complete response, or one whose `whole` is 0. */
static response take_response(client *c, char *bytes, size_t available) {
    response r = {0};
    char *end = memmem(bytes, available, "\r\n\r\n", 4);
    if (!end) return r;
    size_t head = (size_t)(end - bytes) + 4;
    *end = 0;
    const char *length = header(bytes, "content-length"), *encoding = header(bytes, "content-encoding");
    r.status = atoi(bytes + strcspn(bytes, " "));
    if (length) {
        r.body = end + 4;
        r.length = strtoul(length, NULL, 10);
        r.whole = available - head >= r.length ? head + r.length : 0;
    } else {
        size_t chunks = take_chunks(end + 4, available - head, &r);
        r.whole = chunks ? head + chunks : 0;
    }
    if (r.whole && encoding) {
        r.compressed = true;
        r.body = inflate_all(c, GZIP_OR_ZLIB, true, r.body, r.length, &r.length);
    }
    *end = '\r';
    return r;
}

static void on_handshake(client *c, response *r) {
    char *sid = memmem(r->body, r->length, "\"sid\":\"", 7);
    if (sid) snprintf(c->sid, sizeof c->sid, "%.*s", (int)strcspn(sid + 7, "\""), sid + 7);
    if (!options.forwarded) return;
    close_connection(&c->main); /* the rest of the session goes to another instance than its own */
    c->port = c->elsewhere;
    if (options.transport == &UPGRADE) open_websocket(c);
}

static void on_payload(client *c, response *r) {
    char *end = r->body + r->length;
    if (!*c->sid) {
        on_handshake(c, r);
        if (options.transport == &UPGRADE) return;
    }
    for (char *packet = r->body, *next; packet < end; packet = next + 1) {
        next = memchr(packet, SEPARATOR, (size_t)(end - packet));
        if (!next) next = end;
        on_text(c, packet, (size_t)(next - packet), r->compressed);
    }
    if (!c->gone) poll_again(c);
}

static size_t take_responses(connection *from, char *bytes, size_t available) {
    client *c = from->client;
    response r = take_response(c, bytes, available);
    if (!r.whole) return 0;
    if (r.status != 200) {
        lose(c, r.body, r.length);
    } else if (from == &c->main) {
        on_payload(c, &r);
    } else {
        c->posting = false;
        if (c->unsent_length) post(c);
    }
    return r.whole;
}

/* Servers close a connection over which nothing has been asked for some seconds: the next POST opens another. */
static void end_connection(connection *c) {
    if (c == &c->client->post && !c->client->posting) close_connection(c);
    else lose(c->client, "the server closed a connection", 30);
}

const transport POLLING = {poll_again, send_packet, take_responses, end_connection};

static size_t take_either(connection *c, char *bytes, size_t length) {
    return (*c->client->sid ? WEBSOCKET.take : take_responses)(c, bytes, length);
}

static void end_either(connection *c) { WEBSOCKET.ended(c); }

/* A session that begins with polling, and goes on over a WebSocket to another instance. */
const transport UPGRADE = {poll_again, send_text, take_either, end_either};
