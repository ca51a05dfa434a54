/* floor: the least that a single-threaded relay can cost on this kernel, to measure real servers against.
 *
 * One epoll loop in C with no JSON library, no authentication and no presence. It finds the position in a
 * cursor message, wraps it in the delivery's envelope and writes it to the room. With COALESCE 1 (the
 * default) what a recipient gets in one turn of the loop goes out in one send(); with 0 each message has a
 * send() of its own. It serves the load's canvas:cursor and nothing else.
 *
 *   gcc -O2 -o floor floor.c && ./floor PORT [COALESCE]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 65536 };

typedef struct {
    int fd, room;
    bool upgraded, waiting;
    char *in, *out;
    size_t in_length, in_capacity, out_length, out_capacity;
} connection;

typedef struct {
    connection **members;
    int count, capacity;
} room;

static room rooms[MOST];
static connection *unflushed[MOST];
static int unflushed_count;
static bool coalesce = true;

/* Whether everything was sent. Unread data stays: waiting for one client would delay all others. */
static bool flush(connection *c) {
    size_t at = 0;
    while (at < c->out_length) {
        ssize_t n = send(c->fd, c->out + at, c->out_length - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) at = c->out_length;
        else at += (size_t)n;
    }
    c->out_length -= at;
    if (c->out_length) memmove(c->out, c->out + at, c->out_length);
    return !c->out_length;
}

static void flush_later(connection *c) {
    if (!c->waiting) unflushed[unflushed_count++] = c;
    c->waiting = true;
}

static void flush_all(void) {
    int left = 0;
    for (int i = 0; i < unflushed_count; i++) {
        connection *c = unflushed[i];
        c->waiting = !flush(c);
        if (c->waiting) unflushed[left++] = c;
    }
    unflushed_count = left;
}

static void put(connection *c, const char *bytes, size_t length) {
    size_t needed = c->out_length + length;
    if (needed > c->out_capacity) c->out = realloc(c->out, c->out_capacity = 2 * needed);
    memcpy(c->out + c->out_length, bytes, length);
    c->out_length += length;
    if (coalesce || !flush(c)) flush_later(c);
}

static size_t text_frame(char *frame, const char *text, size_t length) {
    size_t header = 2;
    frame[0] = (char)0x81;
    frame[1] = (char)(length < 126 ? length : 126);
    if (length >= 126) {
        frame[2] = (char)(length >> 8);
        frame[3] = (char)length;
        header = 4;
    }
    memcpy(frame + header, text, length);
    return header + length;
}

static void put_text(connection *c, const char *text) {
    char frame[512];
    put(c, frame, text_frame(frame, text, strlen(text)));
}

static void join(connection *c, int index) {
    room *r = &rooms[c->room = index];
    if (r->count == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 8;
        r->members = realloc(r->members, sizeof *r->members * (size_t)r->capacity);
    }
    r->members[r->count++] = c;
    put_text(c, "42[\"users:active\",{}]");
}

static void leave(connection *c) {
    room *r = &rooms[c->room];
    for (int i = 0; i < r->count; i++)
        if (r->members[i] == c) r->members[i] = r->members[--r->count];
}

static void on_text(connection *c, char *text, size_t length) {
    static char delivery[MOST], frame[MOST + 16];
    char *project = memmem(text, length, "room-", 5), *position = memmem(text, length, "\"position\":", 11);
    if (length > 1 && !memcmp(text, "40", 2)) put_text(c, "40{\"sid\":\"aaaaaaaaaaaaaaaaaaaa\"}");
    else if (project && position) {
        size_t head = (size_t)sprintf(delivery, "42[\"canvas:cursor\",{\"socketId\":\"aaaaaaaaaaaaaaaaaaaa\",");
        size_t tail = (size_t)(text + length - position);
        memcpy(delivery + head, position, tail);
        size_t n = text_frame(frame, delivery, head + tail);
        room *r = &rooms[atoi(project + 5)];
        for (int i = 0; i < r->count; i++)
            if (r->members[i] != c) put(r->members[i], frame, n);
    } else if (project) {
        join(c, atoi(project + 5));
    }
}

static void on_bytes(connection *c) {
    size_t at = 0;
    if (!c->upgraded) {
        char *end = memmem(c->in, c->in_length, "\r\n\r\n", 4);
        if (!end) return;
        c->upgraded = true;
        at = (size_t)(end - c->in) + 4;
        static const char SWITCH[] =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        put(c, SWITCH, sizeof SWITCH - 1);
        put_text(c, "0{\"sid\":\"a\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":60000,"
                    "\"maxPayload\":1000000}");
    }
    while (c->in_length - at >= 6) {
        unsigned char *f = (unsigned char *)c->in + at;
        size_t length = f[1] & 127, header = 6;
        if (length == 126) {
            if (c->in_length - at < 8) break;
            length = (size_t)(f[2] << 8 | f[3]);
            header = 8;
        }
        if (c->in_length - at < header + length) break;
        for (size_t i = 0; i < length; i++) f[header + i] ^= f[header - 4 + (i & 3)];
        if ((f[0] & 15) == 1) on_text(c, (char *)f + header, length);
        at += header + length;
    }
    memmove(c->in, c->in + at, c->in_length - at);
    c->in_length -= at;
}

static void accept_one(int listener, int epoll) {
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    struct epoll_event readable = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &readable);
}

static void receive(connection *c, int epoll) {
    static char chunk[MOST];
    ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
        close(c->fd);
        c->fd = -1; /* what it was due is not for the next connection of this number */
        leave(c);
        return;
    }
    size_t needed = c->in_length + (size_t)n;
    if (needed > c->in_capacity) c->in = realloc(c->in, c->in_capacity = 2 * needed);
    memcpy(c->in + c->in_length, chunk, (size_t)n);
    c->in_length += (size_t)n;
    on_bytes(c);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: floor PORT [COALESCE]\n");
        return 1;
    }
    if (argc > 2) coalesce = atoi(argv[2]) != 0;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in here = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)atoi(argv[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (bind(listener, (void *)&here, sizeof here) || listen(listener, 4096)) return 2;
    struct epoll_event ready[1024], readable = {.events = EPOLLIN};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &readable);
    for (;;) {
        int count = epoll_wait(epoll, ready, 1024, unflushed_count ? 1 : -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.ptr) receive(ready[i].data.ptr, epoll);
            else accept_one(listener, epoll);
        }
        flush_all();
    }
}
