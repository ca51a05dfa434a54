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
    if (c->client->stuck) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (bind(c->fd, (void *)&from, sizeof from) || connect(c->fd, (void *)&to, sizeof to)) {
        perror("connect");
        exit(2);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event readable = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &readable);
}

void close_connection(connection *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->length = 0;
}

void send_all(connection *c, const char *bytes, size_t length) {
    while (length) {
        ssize_t n = send(c->fd, bytes, length, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return; /* its end is noticed by reading */
        if (n < 0) {
            usleep(50);
            continue;
        }
        bytes += n;
        length -= (size_t)n;
    }
}

static void keep(connection *c, const char *bytes, size_t length) {
    size_t needed = c->length + length;
    if (needed > c->capacity) c->in = realloc(c->in, c->capacity = 2 * needed);
    memcpy(c->in + c->length, bytes, length);
    c->length = needed;
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
    if (!c->length) { /* mostly whole messages come, which need not be copied */
        size_t taken = options.transport->take(c, chunk, (size_t)n);
        if (c->fd >= 0) keep(c, chunk + taken, (size_t)n - taken);
        return;
    }
    keep(c, chunk, (size_t)n);
    size_t taken = options.transport->take(c, c->in, c->length);
    if (c->fd < 0) return;
    memmove(c->in, c->in + taken, c->length - taken);
    c->length -= taken;
}

/* Wait for something to come, and take it all. */
void turn(int milliseconds) {
    struct epoll_event events[512];
    int ready = epoll_wait(epoll, events, 512, milliseconds);
    for (int i = 0; i < ready; i++) {
        uint64_t times;
        if (events[i].data.ptr) receive(events[i].data.ptr);
        else if (read(timer, &times, sizeof times) < 0) continue;
    }
}

/* Read nothing more; only that the connection has been reset is still noticed. */
void get_stuck(client *c) {
    struct epoll_event nothing = {.events = 0, .data.ptr = &c->main};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->main.fd, &nothing);
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
