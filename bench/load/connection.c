/* Sockets and the one epoll loop that they are all in. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { PER_ADDRESS = 20000, SMALL = 4096 };

static int epoll, timer;

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void start_connections(void) {
    epoll = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event readable = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &readable);
}

/* Let turn() return at least so often: epoll's own timeouts are whole milliseconds. */
void wake_every(uint64_t nanoseconds) {
    struct timespec every = {(time_t)(nanoseconds / 1000000000u), (long)(nanoseconds % 1000000000u)};
    struct itimerspec due = {.it_interval = every, .it_value = every};
    timerfd_settime(timer, 0, &due, NULL);
}

static void fail(connection *c, const char *what) {
    char why[128];
    lose(c->client, why, (size_t)snprintf(why, sizeof why, "%s: %s", what, strerror(errno)));
}

/* Leaves the connection closed where its client is lost by that. */
void open_connection(connection *c) {
    static int opened;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0) {
        perror("socket");
        exit(2);
    }
    /* several source addresses, so that ports do not run out */
    struct sockaddr_in from = {.sin_family = AF_INET}, to = from;
    to.sin_port = htons((uint16_t)c->client->port);
    char source[32];
    snprintf(source, sizeof source, "127.0.0.%d", 2 + opened++ / PER_ADDRESS % 250);
    inet_pton(AF_INET, source, &from.sin_addr);
    inet_pton(AF_INET, options.host, &to.sin_addr);
    int on = 1, small = SMALL;
    /* the port is chosen by connect(): one that waits after an earlier run can serve for another server */
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (c->client->stuck) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    /* bounds connect() too, which waits while the server's queue of new connections is full */
    struct timeval patience = {.tv_sec = (time_t)options.patience + 1};
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (bind(c->fd, (void *)&from, sizeof from) || connect(c->fd, (void *)&to, sizeof to)) {
        fail(c, "connect");
        return;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event readable = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &readable);
}

void close_connection(connection *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->in.length = c->out.length = 0;
}

static void keep(buffer *b, const char *bytes, size_t length) {
    size_t needed = b->length + length;
    if (needed > b->capacity) b->bytes = realloc(b->bytes, b->capacity = 2 * needed);
    memcpy(b->bytes + b->length, bytes, length);
    b->length = needed;
}

static void drop(buffer *b, size_t length) {
    b->length -= length < b->length ? length : b->length; /* a connection that was opened again has nothing */
    memmove(b->bytes, b->bytes + length, b->length);
}

/* How much of it is done with. After a failure that is all: the connection's end is noticed by reading. */
static size_t send_some(int fd, const char *bytes, size_t length) {
    size_t at = 0;
    while (at < length) {
        ssize_t n = send(fd, bytes + at, length - at, MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN ? at : length;
        at += (size_t)n;
    }
    return at;
}

static void wait_for(connection *c, uint32_t events) {
    struct epoll_event wanted = {.events = events, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &wanted);
}

/* Never blocks: a server that does not read, because its data is not read, would block as well. */
void send_all(connection *c, const char *bytes, size_t length) {
    bool queued = c->out.length;
    size_t sent = queued ? 0 : send_some(c->fd, bytes, length);
    if (sent == length) return;
    keep(&c->out, bytes + sent, length - sent);
    if (!queued) wait_for(c, EPOLLIN | EPOLLOUT);
}

static void send_queued(connection *c) {
    drop(&c->out, send_some(c->fd, c->out.bytes, c->out.length));
    if (!c->out.length) wait_for(c, EPOLLIN);
}

static void receive(connection *c) {
    static char chunk[1 << 18];
    if (c->fd < 0) return; /* closed earlier in this turn */
    ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        options.transport->ended(c);
        return;
    }
    counts.received_bytes += (uint64_t)n;
    if (!c->in.length) { /* mostly whole messages come, which need not be copied */
        size_t taken = options.transport->take(c, chunk, (size_t)n);
        if (c->fd >= 0) keep(&c->in, chunk + taken, (size_t)n - taken);
        return;
    }
    keep(&c->in, chunk, (size_t)n);
    size_t taken = options.transport->take(c, c->in.bytes, c->in.length);
    if (c->fd >= 0) drop(&c->in, taken);
}

/* Wait for something to come, and take it all. */
void turn(int milliseconds) {
    struct epoll_event events[512];
    int ready = epoll_wait(epoll, events, 512, milliseconds);
    for (int i = 0; i < ready; i++) {
        uint64_t times;
        connection *c = events[i].data.ptr;
        if (c && events[i].events & EPOLLOUT && c->fd >= 0) send_queued(c);
        if (c && events[i].events & ~(uint32_t)EPOLLOUT) receive(c);
        if (!c && read(timer, &times, sizeof times) < 0) continue;
    }
}

/* Read nothing more; only that the connection has been reset is still noticed. */
void get_stuck(client *c) {
    wait_for(&c->main, 0);
}

/* Find out which of the stuck were disconnected: what they never read may lie before the end. */
void read_out_the_stuck(void) {
    static char chunk[1 << 16];
    uint64_t last = now_ns(), most = last + 10000000000u;
    while (now_ns() - last < 300000000u && last < most) {
        for (int i = 0; i < options.clients; i++) {
            client *c = &clients[i];
            if (!c->stuck || c->gone) continue;
            ssize_t n = recv(c->main.fd, chunk, sizeof chunk, 0);
            if (n < 0 && errno == EAGAIN) continue;
            last = now_ns();
            if (n <= 0) lose(c, NULL, 0);
        }
        usleep(1000);
    }
}
