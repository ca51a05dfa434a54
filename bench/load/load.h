/* The interfaces between the parts of the load generator. main.c describes the program. */
#ifndef LOAD_H
#define LOAD_H

#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

/* What a sender sends for an event: its fields after projectId, and the text before its timestamp. */
typedef struct {
    const char *name, *fields, *mark;
} event_kind;

enum state { OPENING, SIGNING_IN, SIGNED_IN, JOINING, JOINED };

typedef struct client client;

typedef struct {
    char *bytes;
    size_t length, capacity;
} buffer;

typedef struct {
    client *client;
    int fd; /* -1 while closed */
    buffer in, out; /* what has come and could not be taken yet; what waits until the server reads on */
} connection;

struct client {
    int room, port, elsewhere; /* the port of its instance, and that of another one */
    enum state state;
    bool stuck, gone;
    connection main; /* the WebSocket, or the one that polls */
    z_stream *inflater;
    bool upgraded, keeps_context;
    connection post;
    bool posting;
    char sid[64], *unsent;
    size_t unsent_length, unsent_capacity;
};

typedef struct {
    int readers, received; /* who reads, the sender included; what they got of what is in flight */
} room;

typedef struct {
    void (*open)(client *c);
    void (*send)(client *c, const char *text, size_t length);
    size_t (*take)(connection *c, char *bytes, size_t length); /* how much of the bytes is done with */
    void (*ended)(connection *c);
} transport;

enum { MOST_PORTS = 16 };

typedef struct {
    int ports[MOST_PORTS], port_count, clients, rooms, window, senders, stuck, pad;
    double seconds, rate, patience;
    bool deflate, storm, forwarded;
    char **tokens;
    int token_count;
    const char *pids, *redis, *spare, *host, *transport_name, *project; /* the first three: process ids, NULL where none */
    const event_kind *event;
    const transport *transport;
} settings;

typedef struct {
    int signed_in, joined, closed, cut;
    uint64_t messages;       /* all that came but pings */
    uint64_t received_bytes; /* as they came over the wire */
    uint64_t sent, expected, delivered, compressed;
    bool measuring, sending;
} tally;

extern settings options;
extern tally counts;
extern client *clients;
extern room *rooms;

/* connection.c */
uint64_t now_ns(void);
void start_connections(void);
void open_connection(connection *c);
void close_connection(connection *c);
void send_all(connection *c, const char *bytes, size_t length);
void wake_every(uint64_t nanoseconds);
void turn(int milliseconds);
void get_stuck(client *c);
void read_out_the_stuck(void);

/* client.c */
extern const event_kind EVENTS[];
const event_kind *event_named(const char *name);
void open_client(int index);
void join(client *c);
void leave(client *c);
void lose(client *c, const char *why, size_t length);
void send_event(client *c);
void on_text(client *c, char *text, size_t length, bool compressed);

/* websocket.c, polling.c */
extern const transport WEBSOCKET, POLLING, UPGRADE;
void open_websocket(client *c);
void send_text(client *c, const char *text, size_t length);

/* inflate.c: the result is valid until the next call */
enum wrapping { RAW = -15, GZIP_OR_ZLIB = 47 };
char *inflate_all(client *c, enum wrapping wrapping, bool afresh, const char *bytes, size_t length, size_t *inflated);

/* text.c */
const char *some_text(size_t length);

/* latency.c */
void count_latency(uint64_t nanoseconds);
double percentile_ms(double q);

/* server.c */
double cpu_of(const char *pids);
double server_cpu(void);
double server_rss_kb(void);

#endif
