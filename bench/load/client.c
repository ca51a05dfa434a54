/* A client of Synkora's events over Socket.IO v5, whatever its transport. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const event_kind EVENTS[] = {
    {"canvas:cursor", "\"position\":{\"x\":%llu,\"y\":2%s}", "\"x\":"},
    {"canvas:update", "\"changes\":{\"updated\":{\"s1\":{\"t\":%llu,\"text\":\"%s\"}}}", "\"t\":"},
    {"markdown:update", "\"fileId\":\"f1\",\"content\":\"t=%llu;%s\"", "t="},
    {"task:update", "\"task\":{\"id\":\"t1\",\"title\":\"t=%llu;%s\"}", "t="},
    {"typing:start", "\"context\":\"canvas%2$s\",\"timestamp\":%1$llu", "\"timestamp\":"},
};

const event_kind *event_named(const char *name) {
    for (size_t k = 0; k < sizeof EVENTS / sizeof *EVENTS; k++)
        if (!strcmp(EVENTS[k].name, name)) return &EVENTS[k];
    return NULL;
}

/* The clients are distributed to the rooms, and those of a room to the ports, so that the first of each room, who sends
 * where one does, is on another port than that of the next room. The last of a room get stuck. */
void open_client(int index) {
    client *c = &clients[index];
    int r = index % options.rooms, members = options.clients / options.rooms;
    int stuck = options.stuck / options.rooms + (r < options.stuck % options.rooms);
    c->room = r;
    int instance = index / options.rooms + r;
    c->port = options.ports[instance % options.port_count];
    c->elsewhere = options.ports[(instance + 1) % options.port_count];
    c->stuck = index / options.rooms >= members - stuck;
    rooms[r].readers = members - stuck;
    c->main = c->post = (connection){.client = c, .fd = -1};
    options.transport->open(c);
}

static void send_room(client *c, const char *event) {
    char text[128];
    options.transport->send(c, text, (size_t)snprintf(text, sizeof text, "42[\"%s\",\"%s-%d\"]", event, options.project,
                                                           c->room));
}

void join(client *c) {
    send_room(c, "join-project");
    c->state = JOINING;
}

void leave(client *c) {
    if (!c->gone) send_room(c, "leave-project");
}

/* Its connection is over, which is a fault of the server's unless it does not read. */
void lose(client *c, const char *why, size_t length) {
    if (c->gone) return;
    if (c->state < JOINED && why) {
        fprintf(stderr, "%.*s\n", (int)(length > 1000 ? 1000 : length), why);
        exit(2);
    }
    c->gone = true;
    c->stuck ? counts.cut++ : counts.closed++;
    close_connection(&c->main);
    close_connection(&c->post);
}

void send_event(client *c) {
    static char *message, *fields;
    size_t capacity = (size_t)options.pad + 512;
    if (c->gone) return;
    if (!message) {
        message = malloc(capacity);
        fields = malloc(capacity);
    }
    const char *pad = options.event == EVENTS ? "" : some_text((size_t)options.pad);
    snprintf(fields, capacity, options.event->fields, (unsigned long long)now_ns(), pad);
    int length = snprintf(message, capacity, "42[\"%s\",{\"projectId\":\"%s-%d\",%s}]", options.event->name,
                          options.project, c->room, fields);
    options.transport->send(c, message, (size_t)length);
    counts.sent++;
    counts.expected += (uint64_t)(rooms[c->room].readers - 1);
}

static void on_delivery(client *c, const char *text, size_t length, bool compressed) {
    const char *mark = memmem(text, length, options.event->mark, strlen(options.event->mark));
    bool is_whole = options.event == EVENTS || length > (size_t)options.pad;
    if (!mark || !is_whole) return;
    counts.delivered++;
    counts.compressed += compressed;
    count_latency(now_ns() - strtoull(mark + strlen(options.event->mark), NULL, 10));
    room *r = &rooms[c->room];
    if (++r->received == r->readers - 1) {
        r->received = 0;
        if (counts.sending && options.window) send_event(&clients[c->room]);
    }
}

static bool starts(const char *text, size_t length, const char *prefix) {
    size_t n = strlen(prefix);
    return length >= n && !memcmp(text, prefix, n);
}

/* An Engine.IO packet. */
void on_text(client *c, char *text, size_t length, bool compressed) {
    static char reply[8192], delivery[64];
    if (!*delivery) snprintf(delivery, sizeof delivery, "42[\"%s\"", options.event->name);
    if (!length || c->gone) return;
    if (length == 1 && text[0] == '2') {
        options.transport->send(c, "3", 1);
        return;
    }
    counts.messages++;
    if (c->state == OPENING && starts(text, length, "3probe")) options.transport->send(c, "5", 1);
    if (c->state == OPENING && (text[0] == '0' || text[0] == '3')) {
        const char *token = options.tokens[(c - clients) % options.token_count];
        c->state = SIGNING_IN;
        options.transport->send(c, reply, (size_t)snprintf(reply, sizeof reply, "40{\"token\":\"%s\"}", token));
    } else if (c->state == SIGNING_IN && starts(text, length, "40")) {
        c->state = SIGNED_IN;
        counts.signed_in++;
        if (!options.storm) join(c);
    } else if (starts(text, length, "44")) {
        fprintf(stderr, "refused: %.*s\n", (int)length, text);
        exit(3);
    } else if (starts(text, length, "1") || starts(text, length, "41")) {
        lose(c, "disconnected", 12);
    } else if (c->state == JOINING && starts(text, length, "42[\"users:active\"")) {
        c->state = JOINED;
        counts.joined++;
    } else if (counts.measuring && starts(text, length, delivery)) {
        on_delivery(c, text, length, compressed);
    }
}
