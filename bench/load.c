/* load: a WebSocket load generator for servers that speak Synkora's events over Socket.IO v5.
 *
 * One epoll loop in C, so that a client costs less than the server it measures. It opens CLIENTS
 * connections spread over ROOMS projects, joins them, lets one member of each project send, and
 * reports what the server delivered, how late, and what it cost the server's processes in CPU time
 * and memory. CPU time per delivery is the figure to quote: it holds on a busy machine, where
 * deliveries per second do not.
 *
 *   gcc -O2 -o load load.c
 *   ./load --port 3001 --tokens tokens.txt --pids "$PID" --clients 200 --rooms 20 --window 4
 *
 * tokens.txt has a token a line; clients take them in turn, so as many lines as clients makes each a
 * user of its own. With --window 0 and no --rate nothing is sent: then rss_kb_per_client is the
 * memory of an idle client.
 *
 * Prints one JSON object. Exit status: 0 measured, 1 usage, 2 connection refused or not upgraded,
 * 3 refused by the server at CONNECT, 4 not all clients joined within two minutes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* What a sender sends for an event: its fields after projectId, and the text before its timestamp. */
typedef struct {
    const char *name, *fields, *mark;
} event_kind;

static const event_kind EVENTS[] = {
    {"canvas:cursor", "\"position\":{\"x\":%llu,\"y\":2%s}", "\"x\":"},
    {"canvas:update", "\"changes\":{\"updated\":{\"s1\":{\"t\":%llu,\"text\":\"%s\"}}}", "\"t\":"},
    {"markdown:update", "\"fileId\":\"f1\",\"content\":\"t=%llu;%s\"", "t="},
    {"task:update", "\"task\":{\"id\":\"t1\",\"title\":\"t=%llu;%s\"}", "t="},
    {"typing:start", "\"context\":\"canvas%2$s\",\"timestamp\":%1$llu", "\"timestamp\":"},
};

enum state { UPGRADING, OPENING, CONNECTING, JOINED };

typedef struct {
    int fd, room;
    enum state state;
    char *in;
    size_t length, capacity;
} client;

typedef struct {
    int members, received;
    uint64_t next_send;
    client *sender;
} room;

static struct {
    int port, clients, rooms, window, pad;
    double seconds, rate;
    char **tokens;
    int token_count;
    const char *pids, *host;
    const event_kind *event;
} options = {
    .port = 3001, .clients = 200, .rooms = 20, .window = 4, .seconds = 5, .host = "127.0.0.1", .event = EVENTS};

static client *clients;
static room *rooms;
static int joined, closed;
static bool measuring, sending;
static uint64_t sent, delivered, latency[1024];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Latencies in microseconds, in buckets of 1/16 of a power of two. */
static int bucket_of(uint64_t us) {
    if (us < 16) return (int)us;
    int exponent = 63 - __builtin_clzll(us);
    int bucket = (exponent - 3) * 16 + (int)((us >> (exponent - 4)) & 15);
    return bucket < 1024 ? bucket : 1023;
}

static double percentile_ms(double q) {
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < 1024; i++) total += latency[i];
    for (int i = 0; i < 1024; i++) {
        seen += latency[i];
        if (total && (double)seen >= q * (double)total) {
            double us = i < 16 ? i : (double)((16 + i % 16) * (1ull << (i / 16 + 3 - 4)));
            return us / 1000;
        }
    }
    return -1;
}

static void send_all(client *c, const char *bytes, size_t length) {
    while (length) {
        ssize_t n = send(c->fd, bytes, length, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return;
        if (n < 0) {
            usleep(50);
            continue;
        }
        bytes += n;
        length -= (size_t)n;
    }
}

/* A masked text frame; the mask is zero, so the payload goes as it is. */
static void send_text(client *c, const char *text, size_t length) {
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
    send_all(c, frame, h + length);
}

static void send_event(int index) {
    static char *message, *fields, *pad;
    size_t capacity = (size_t)options.pad + 512;
    if (!message) {
        message = malloc(capacity);
        fields = malloc(capacity);
        pad = calloc(1, (size_t)options.pad + 1);
        if (options.event != EVENTS) memset(pad, 'x', (size_t)options.pad);
    }
    snprintf(fields, capacity, options.event->fields, (unsigned long long)now_ns(), pad);
    int length = snprintf(message, capacity, "42[\"%s\",{\"projectId\":\"room-%d\",%s}]",
                          options.event->name, index, fields);
    send_text(rooms[index].sender, message, (size_t)length);
    sent++;
}

static bool starts(const char *text, size_t length, const char *prefix) {
    size_t n = strlen(prefix);
    return length >= n && !memcmp(text, prefix, n);
}

static void on_delivery(client *c, const char *text, size_t length) {
    delivered++;
    const char *mark = memmem(text, length, options.event->mark, strlen(options.event->mark));
    if (mark) latency[bucket_of((now_ns() - strtoull(mark + strlen(options.event->mark), NULL, 10)) / 1000)]++;
    room *r = &rooms[c->room];
    if (++r->received == r->members - 1) {
        r->received = 0;
        if (sending && options.window) send_event(c->room);
    }
}

static void on_text(client *c, const char *text, size_t length) {
    static char reply[8192], delivery[64];
    if (!*delivery) snprintf(delivery, sizeof delivery, "42[\"%s\"", options.event->name);
    if (c->state == OPENING && text[0] == '0') {
        const char *token = options.tokens[(c - clients) % options.token_count];
        send_text(c, reply, (size_t)snprintf(reply, sizeof reply, "40{\"token\":\"%s\"}", token));
        c->state = CONNECTING;
    } else if (length == 1 && text[0] == '2') {
        send_text(c, "3", 1);
    } else if (starts(text, length, "40")) {
        send_text(c, reply, (size_t)snprintf(reply, sizeof reply, "42[\"join-project\",\"room-%d\"]", c->room));
    } else if (starts(text, length, "44")) {
        fprintf(stderr, "refused: %.*s\n", (int)length, text);
        exit(3);
    } else if (c->state == CONNECTING && starts(text, length, "42[\"users:active\"")) {
        c->state = JOINED;
        joined++;
    } else if (measuring && starts(text, length, delivery)) {
        on_delivery(c, text, length);
    }
}

static size_t take_upgrade(client *c) {
    char *end = memmem(c->in, c->length, "\r\n\r\n", 4);
    if (!end) return 0;
    if (!starts(c->in, c->length, "HTTP/1.1 101")) {
        fprintf(stderr, "not upgraded: %.*s\n", (int)c->length, c->in);
        exit(2);
    }
    c->state = OPENING;
    return (size_t)(end - c->in) + 4;
}

static void take_frames(client *c) {
    size_t at = c->state == UPGRADING ? take_upgrade(c) : 0;
    while (c->state != UPGRADING && c->length - at >= 2) {
        const unsigned char *f = (unsigned char *)c->in + at;
        uint64_t length = f[1] & 127;
        size_t header = length == 126 ? 4 : length == 127 ? 10 : 2;
        if (c->length - at < header) break;
        if (header > 2) {
            length = 0;
            for (size_t i = 2; i < header; i++) length = length << 8 | f[i];
        }
        if (c->length - at < header + length) break;
        int opcode = f[0] & 15;
        if (opcode == 1 && length) on_text(c, c->in + at + header, length);
        if (opcode == 8) closed++;
        at += header + length;
    }
    memmove(c->in, c->in + at, c->length - at);
    c->length -= at;
}

static void open_client(int index, int epoll) {
    client *c = &clients[index];
    c->room = index % options.rooms;
    c->in = malloc(c->capacity = 4096);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0) {
        perror("socket");
        exit(2);
    }
    /* a source address for every 20,000 clients, so that ports do not run out */
    struct sockaddr_in from = {.sin_family = AF_INET}, to = from;
    to.sin_port = htons((uint16_t)options.port);
    char source[32];
    snprintf(source, sizeof source, "127.0.0.%d", 2 + index / 20000);
    inet_pton(AF_INET, source, &from.sin_addr);
    inet_pton(AF_INET, options.host, &to.sin_addr);
    if (bind(c->fd, (void *)&from, sizeof from) || connect(c->fd, (void *)&to, sizeof to)) {
        perror("connect");
        exit(2);
    }
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    room *r = &rooms[c->room];
    r->members++;
    if (!r->sender) r->sender = c;
    char request[512];
    send_all(c, request, (size_t)snprintf(request, sizeof request,
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost:%d\r\nOrigin: http://localhost:3000\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", options.port));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event readable = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &readable);
}

static void receive(client *c, int epoll) {
    static char chunk[1 << 16];
    ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        closed++;
        epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
        return;
    }
    while (c->length + (size_t)n > c->capacity) c->in = realloc(c->in, c->capacity *= 2);
    memcpy(c->in + c->length, chunk, (size_t)n);
    c->length += (size_t)n;
    take_frames(c);
}

/* Sum a figure over the server's processes: CPU seconds, or resident kilobytes. */
static double server_cpu(void) {
    double seconds = 0;
    char *list = strdup(options.pids), *rest = list, *pid;
    while ((pid = strsep(&rest, ","))) {
        char path[64], line[1024];
        snprintf(path, sizeof path, "/proc/%s/stat", pid);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        size_t n = fread(line, 1, sizeof line - 1, file);
        fclose(file);
        line[n] = 0;
        unsigned long user, system;
        char *after_name = strrchr(line, ')');
        static const char UTIME_STIME[] = "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu";
        if (after_name && sscanf(after_name + 2, UTIME_STIME, &user, &system) == 2)
            seconds += (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    }
    free(list);
    return seconds;
}

static long server_rss_kb(void) {
    long total = 0;
    char *list = strdup(options.pids), *rest = list, *pid;
    while ((pid = strsep(&rest, ","))) {
        char path[64], line[256];
        long kb;
        snprintf(path, sizeof path, "/proc/%s/status", pid);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        while (fgets(line, sizeof line, file))
            if (sscanf(line, "VmRSS: %ld", &kb) == 1) total += kb;
        fclose(file);
    }
    free(list);
    return total;
}

static void read_tokens(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        exit(1);
    }
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t n; (n = getline(&line, &capacity, file)) > 0;) {
        line[strcspn(line, "\n")] = 0;
        if (!*line) continue;
        options.tokens = realloc(options.tokens, sizeof *options.tokens * (size_t)(options.token_count + 1));
        options.tokens[options.token_count++] = strdup(line);
    }
    free(line);
    fclose(file);
}

static void parse_options(int argc, char **argv) {
    static const struct option LONG[] = {
        {"port", 1, 0, 'p'}, {"clients", 1, 0, 'c'}, {"rooms", 1, 0, 'r'}, {"seconds", 1, 0, 's'},
        {"window", 1, 0, 'w'}, {"rate", 1, 0, 'R'}, {"tokens", 1, 0, 't'}, {"pids", 1, 0, 'i'},
        {"event", 1, 0, 'e'}, {"pad", 1, 0, 'P'}, {"host", 1, 0, 'h'}, {0}};
    for (int o; (o = getopt_long(argc, argv, "", LONG, NULL)) != -1;) {
        switch (o) {
        case 'p': options.port = atoi(optarg); break;
        case 'c': options.clients = atoi(optarg); break;
        case 'r': options.rooms = atoi(optarg); break;
        case 's': options.seconds = atof(optarg); break;
        case 'w': options.window = atoi(optarg); break;           /* messages in flight in each room */
        case 'R': options.rate = atof(optarg), options.window = 0; break; /* or messages a second in each room */
        case 't': read_tokens(optarg); break;
        case 'i': options.pids = optarg; break;
        case 'P': options.pad = atoi(optarg); break;              /* bytes of text in each message */
        case 'h': options.host = optarg; break;
        case 'e':
            options.event = NULL;
            for (size_t k = 0; k < sizeof EVENTS / sizeof *EVENTS; k++)
                if (!strcmp(EVENTS[k].name, optarg)) options.event = &EVENTS[k];
            if (options.event) break;
            fprintf(stderr, "no such event: %s\n", optarg);
            exit(1);
        default: exit(1);
        }
    }
    bool divisible = options.rooms > 0 && options.clients > 0 && options.clients % options.rooms == 0;
    if (!options.token_count || !options.pids || !divisible) {
        fprintf(stderr, "usage: load --port N --tokens FILE --pids PID[,PID] [--clients N] [--rooms N] [--seconds S]\n"
                        "            [--window N | --rate PER_SECOND] [--event NAME] [--pad BYTES] [--host IP]\n"
                        "The clients are shared out among the rooms, so that --clients is a multiple of --rooms.\n");
        exit(1);
    }
}

int main(int argc, char **argv) {
    parse_options(argc, argv);
    clients = calloc((size_t)options.clients, sizeof *clients);
    rooms = calloc((size_t)options.rooms, sizeof *rooms);
    int epoll = epoll_create1(0), opened = 0;
    struct epoll_event events[512];
    long rss_before = server_rss_kb();
    double connect_cpu = server_cpu(), cpu = 0, wall = 0, connect_seconds = 0;
    uint64_t began = now_ns(), settled = 0, start = 0, stopped = 0, counted = 0, expected = 0;

    for (;;) {
        uint64_t now = now_ns();
        while (opened < options.clients && opened - joined < 64) open_client(opened++, epoll);
        if (joined == options.clients && !settled) {
            connect_seconds = (double)(now - began) / 1e9;
            connect_cpu = server_cpu() - connect_cpu;
            settled = now + 1000000000u; /* let presence settle */
        }
        if (settled && !start && now >= settled) {
            measuring = sending = true;
            start = now;
            cpu = server_cpu();
            for (int r = 0; r < options.rooms; r++) {
                rooms[r].next_send = start + (uint64_t)(options.rate > 0 ? 1e9 / options.rate / options.rooms * r : 0);
                for (int w = 0; w < options.window; w++) send_event(r);
            }
        }
        for (int r = 0; sending && options.rate > 0 && r < options.rooms; r++) {
            while (rooms[r].next_send <= now) {
                send_event(r);
                rooms[r].next_send += (uint64_t)(1e9 / options.rate);
            }
        }
        if (sending && now - start >= (uint64_t)(options.seconds * 1e9)) {
            sending = false;
            stopped = now;
            expected = sent * (uint64_t)(options.clients / options.rooms - 1);
            cpu = server_cpu() - cpu;
            wall = (double)(now - start) / 1e9;
            counted = delivered;
        }
        /* Time for stragglers; and some in any case, to notice what is delivered twice. */
        if (stopped && now - stopped >= (delivered == expected ? 200000000u : 2000000000u)) break;
        if (!settled && now - began > 120000000000u) {
            fprintf(stderr, "timed out: %d of %d clients joined\n", joined, options.clients);
            return 4;
        }
        int ready = epoll_wait(epoll, events, 512, sending && options.rate > 0 ? 1 : 20);
        for (int i = 0; i < ready; i++) receive(events[i].data.ptr, epoll);
    }

    long rss = server_rss_kb();
    printf("{\"event\":\"%s\",\"clients\":%d,\"rooms\":%d,\"window\":%d,\"rate\":%.1f,\"pad\":%d,"
           "\"connect_s\":%.2f,\"connect_cpu_ms\":%.3f,\"sent\":%llu,\"delivered\":%llu,\"lost\":%lld,"
           "\"deliveries_per_s\":%.0f,\"server_cpu_percent\":%.0f,\"cpu_us_per_delivery\":%.2f,"
           "\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"rss_mb\":%.1f,\"rss_kb_per_client\":%.1f,\"closed\":%d}\n",
           options.event->name, options.clients, options.rooms, options.window, options.rate, options.pad,
           connect_seconds, connect_cpu * 1000 / options.clients,
           (unsigned long long)sent, (unsigned long long)delivered,
           (long long)(expected - delivered), (double)counted / wall, 100 * cpu / wall,
           counted ? 1e6 * cpu / (double)counted : -1, percentile_ms(.5), percentile_ms(.99),
           (double)rss / 1024, (double)(rss - rss_before) / options.clients, closed);
    return 0;
}
