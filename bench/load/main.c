/* load: a load generator for servers that speak Synkora's events over Socket.IO v5.
 *
 * One epoll loop in C, so that a client costs less than the server it measures. It opens CLIENTS
 * connections spread over ROOMS projects, joins them, lets members of each project send, and
 * reports what the server delivered, how late, and what it cost the server's processes in CPU time
 * and memory. CPU time per delivery is the figure to quote: it holds on a busy machine, where
 * deliveries per second do not.
 *
 *   cd bench/load && gcc -O2 -o load *.c -lz
 *   ./load --port 3001 --tokens tokens.txt --pids "$PID" --clients 200 --rooms 20 --window 4
 *
 * tokens.txt has a token a line; clients take them in turn, so as many lines as clients makes each a
 * user of its own. With several ports, those of instances that are one server over Redis, the members of
 * each room are dealt out to them; --pids then are those of all, --redis is the process id of Redis, and
 * --spare that of one more instance, without clients: their cost is reported separately. With --forwarded each session
 * begins with polling at one port, and goes on at another one: WebSockets are upgrades then. Without --window, --rate and --storm, nothing is sent: then idle_cpu_percent and
 * rss_kb_per_client are what idle clients cost. --project begins the names of the projects: another one keeps the
 * clients of two loads apart.
 *
 * Prints one JSON object, in which what does not apply is null. Exit status: 0 measured, 1 usage,
 * 2 connection refused, closed or not upgraded before all had joined, 3 refused by the server at
 * CONNECT, 4 no client got any further for --patience seconds. Of a server that ends or stops later, the
 * clients are counted as closed, and its messages as lost.
 */
#include "load.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNANSWERED = 64, LATEST = 10 };
#define SECOND 1000000000u

settings options = {.ports = {3001}, .port_count = 1, .clients = 200, .rooms = 20, .window = 4, .senders = 1, .seconds = 5, .patience = 30,
                    .host = "127.0.0.1", .event = EVENTS, .transport = &WEBSOCKET, .transport_name = "websocket", .project = "room"};
tally counts;
client *clients;
room *rooms;

static struct {
    double connect_seconds, connect_cpu, cpu, wall, counted, wire_bytes, idle_cpu, join_cpu, leave_cpu, rss_peak;
    double redis_cpu, spare_cpu;
} figures = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};

/* Give up when clients are missing and none gets any further. */
static void watch(int progress) {
    static int before = -1;
    static uint64_t since;
    if (progress != before) {
        before = progress;
        since = now_ns();
    } else if (now_ns() - since > (uint64_t)(options.patience * SECOND)) {
        fprintf(stderr, "timed out: %d of %d clients signed in, %d joined\n", counts.signed_in, options.clients,
                counts.joined);
        exit(4);
    }
}

static void pass(double seconds) {
    uint64_t until = now_ns() + (uint64_t)(seconds * SECOND);
    while (now_ns() < until) turn(20);
}

/* The CPU time at the last message before a second without any. */
static double until_quiet(void) {
    double cpu = server_cpu();
    bool was_busy = true;
    for (uint64_t last = now_ns(); now_ns() - last < SECOND;) {
        uint64_t before = counts.messages;
        turn(20);
        bool is_busy = counts.messages != before;
        if (is_busy) last = now_ns();
        if (is_busy || was_busy) cpu = server_cpu();
        was_busy = is_busy;
    }
    return cpu;
}

/* All connect, sign in and, unless that is to be measured by itself, join. */
static void connect_all(void) {
    const int *done = options.storm ? &counts.signed_in : &counts.joined;
    uint64_t began = now_ns();
    double before = server_cpu();
    for (int opened = 0; *done < options.clients; watch(counts.signed_in + counts.joined)) {
        while (opened < options.clients && opened - *done < UNANSWERED) open_client(opened++);
        turn(20);
    }
    figures.connect_seconds = (double)(now_ns() - began) / SECOND;
    figures.connect_cpu = until_quiet() - before; /* some servers send presence events for long after */
}

static const double LEAVE_DELAY = 1; /* seconds after which a server may announce a leave */

static void storm(void) {
    double before = server_cpu();
    for (int asked = 0; counts.joined < options.clients; watch(counts.joined)) {
        while (asked < options.clients && asked - counts.joined < UNANSWERED) join(&clients[asked++]);
        turn(20);
    }
    figures.join_cpu = until_quiet() - before;
    before = server_cpu();
    for (int i = 0; i < options.clients; i++) leave(&clients[i]);
    until_quiet();
    pass(LEAVE_DELAY); /* nobody is there who would get a message of what a server does then */
    figures.leave_cpu = server_cpu() - before;
}

static void stay_idle(void) {
    double before = server_cpu();
    uint64_t began = now_ns();
    pass(options.seconds);
    figures.idle_cpu = 100 * (server_cpu() - before) / ((double)(now_ns() - began) / SECOND);
}

/* Who sends at the rate, in the order in which they do: a member of each room after the other. */
static int choose_senders(client **senders) {
    int count = 0;
    for (int i = 0; i < options.clients; i++)
        if (!clients[i].stuck && (!options.senders || i / options.rooms < options.senders))
            senders[count++] = &clients[i];
    return count;
}

static void note_rss(void) {
    double rss = server_rss_kb();
    if (!(figures.rss_peak >= rss)) figures.rss_peak = rss;
}

static bool someone_reads(void) { return counts.closed < options.clients - options.stuck; }

/* On a busy machine, the first message may take longer than the load, and the kernel counts CPU time late. */
static void wait_for_a_cost(double cpu_before) {
    uint64_t since = now_ns();
    while (counts.expected && !(counts.delivered && server_cpu() > cpu_before) && someone_reads() &&
           now_ns() - since < (uint64_t)(options.patience * SECOND))
        turn(20);
}

static void send_all_the_time(client **senders, int count, double cpu_before) {
    double interval = options.rate > 0 ? SECOND / (options.rate * count) : 0;
    if (interval > 0) wake_every((uint64_t)(interval < 50000 ? 50000 : interval));
    uint64_t start = now_ns(), turns = 0, sampled = 0;
    for (int i = 0; i < options.rooms * options.window; i++) send_event(&clients[i % options.rooms]);
    for (uint64_t now = start; now - start < (uint64_t)(options.seconds * SECOND) && someone_reads(); now = now_ns()) {
        while (interval > 0 && (double)turns * interval <= (double)(now - start))
            send_event(senders[turns++ % (unsigned)count]);
        if (now - sampled >= SECOND / 10) {
            note_rss();
            sampled = now;
        }
        turn(20);
    }
    wait_for_a_cost(cpu_before);
    figures.wall = (double)(now_ns() - start) / SECOND;
}

/* Time for late messages, which a busy machine may delay for seconds, and some more to notice duplicates. */
static void wait_for_the_rest(void) {
    uint64_t last = now_ns(), before = counts.delivered;
    uint64_t most = (uint64_t)((options.patience < LATEST ? options.patience : LATEST) * SECOND);
    while (someone_reads() && now_ns() - last < (counts.delivered == counts.expected ? SECOND / 5 : most)) {
        turn(20);
        if (counts.delivered != before) last = now_ns();
        before = counts.delivered;
    }
}

static void send_and_measure(void) {
    client **senders = calloc((size_t)options.clients, sizeof *senders);
    int count = choose_senders(senders);
    for (int i = 0; i < options.clients; i++)
        if (clients[i].stuck) get_stuck(&clients[i]);
    uint64_t bytes = counts.received_bytes;
    double before = server_cpu(), redis_before = cpu_of(options.redis), spare_before = cpu_of(options.spare);
    counts.measuring = counts.sending = true;
    send_all_the_time(senders, count, before);
    counts.sending = false;
    figures.cpu = server_cpu() - before;
    figures.redis_cpu = cpu_of(options.redis) - redis_before;
    figures.spare_cpu = cpu_of(options.spare) - spare_before;
    figures.counted = (double)counts.delivered;
    wake_every(0);
    wait_for_the_rest();
    note_rss();
    figures.wire_bytes = (double)(counts.received_bytes - bytes);
    free(senders);
}

static void field(const char *name, double value, int digits) {
    if (isfinite(value)) printf(",\"%s\":%.*f", name, digits, value);
    else printf(",\"%s\":null", name);
}

static void report(double rss_before) {
    double rss = server_rss_kb();
    printf("{\"event\":\"%s\",\"transport\":\"%s\",\"deflate\":%s", options.event->name, options.transport_name,
           options.deflate ? "true" : "false");
    field("clients", options.clients, 0);
    field("rooms", options.rooms, 0);
    field("window", options.window, 0);
    field("rate", options.rate, 1);
    field("senders", options.senders, 0);
    field("pad", options.pad, 0);
    field("connect_s", figures.connect_seconds, 2);
    field("connect_cpu_ms", figures.connect_cpu * 1000 / options.clients, 3);
    field("join_cpu_ms", figures.join_cpu * 1000, 1);
    field("leave_cpu_ms", figures.leave_cpu * 1000, 1);
    field("idle_cpu_percent", figures.idle_cpu, 2);
    field("sent", (double)counts.sent, 0);
    field("delivered", (double)counts.delivered, 0);
    field("lost", (double)counts.expected - (double)counts.delivered, 0);
    field("compressed", (double)counts.compressed, 0);
    field("deliveries_per_s", figures.counted / figures.wall, 0);
    field("wire_bytes_per_delivery", figures.wire_bytes / (double)counts.delivered, 1);
    field("server_cpu_percent", 100 * figures.cpu / figures.wall, 1);
    field("cpu_us_per_delivery", 1e6 * figures.cpu / figures.counted, 2);
    field("redis_cpu_us_per_delivery", 1e6 * figures.redis_cpu / figures.counted, 2);
    field("spare_cpu_percent", 100 * figures.spare_cpu / figures.wall, 2);
    field("p50_ms", percentile_ms(.5), 2);
    field("p99_ms", percentile_ms(.99), 2);
    field("rss_mb", rss / 1024, 1);
    field("rss_peak_mb", figures.rss_peak / 1024, 1);
    field("rss_kb_per_client", (rss - rss_before) / options.clients, 1);
    field("stuck", options.stuck, 0);
    field("cut", options.stuck ? counts.cut : NAN, 0);
    field("closed", counts.closed, 0);
    printf("}\n");
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

static void refuse(const char *why) {
    fprintf(stderr, "%s\n"
            "usage: load --port N[,N] --tokens FILE --pids PID[,PID] [--redis PID] [--spare PID] [--host IP]\n"
            "            [--clients N] [--rooms N] [--seconds S]\n"
            "            [--window N | --rate PER_SECOND [--senders N] | --storm] [--event NAME] [--pad BYTES]\n"
            "            [--transport websocket|polling] [--forwarded] [--deflate] [--stuck N]\n"
            "            [--patience S] [--project NAME]\n", why);
    exit(1);
}

static void parse_ports(char *list) {
    options.port_count = 0;
    for (char *port; (port = strsep(&list, ",")); options.ports[options.port_count++] = atoi(port))
        if (options.port_count == MOST_PORTS) refuse("too many ports");
}

static void check_options(void) {
    int members = options.rooms > 0 ? options.clients / options.rooms : 0;
    int stuck = options.rooms > 0 ? (options.stuck + options.rooms - 1) / options.rooms : 0;
    if (!options.token_count || !options.pids) refuse("--tokens and --pids are needed");
    if (strlen(options.project) > 32 || strpbrk(options.project, "\"\\")) refuse("--project is too long, or has quotes");
    if (members < 1 || options.clients % options.rooms) refuse("--clients has to be a multiple of --rooms");
    if (options.senders < 0 || options.senders > members) refuse("there are fewer members than --senders");
    if (stuck + (options.senders ? options.senders : 1) > members) refuse("the --stuck leave too few who send");
    if (options.stuck && options.transport == &POLLING) refuse("--stuck needs --transport websocket");
    if (options.stuck && options.storm) refuse("--stuck and --storm exclude each other");
    if (options.forwarded && options.port_count < 2) refuse("--forwarded needs several ports");
    if (options.forwarded && options.transport == &WEBSOCKET) options.transport = &UPGRADE;
}

static void parse_options(int argc, char **argv) {
    static const struct option LONG[] = {
        {"port", 1, 0, 'p'}, {"clients", 1, 0, 'c'}, {"rooms", 1, 0, 'r'}, {"seconds", 1, 0, 's'},
        {"window", 1, 0, 'w'}, {"rate", 1, 0, 'R'}, {"senders", 1, 0, 'S'}, {"storm", 0, 0, 'j'},
        {"tokens", 1, 0, 't'}, {"pids", 1, 0, 'i'}, {"event", 1, 0, 'e'}, {"pad", 1, 0, 'P'}, {"host", 1, 0, 'h'},
        {"transport", 1, 0, 'T'}, {"deflate", 0, 0, 'd'}, {"stuck", 1, 0, 'k'}, {"redis", 1, 0, 'D'}, {"spare", 1, 0, 'x'},
        {"patience", 1, 0, 'W'}, {"project", 1, 0, 'n'}, {"forwarded", 0, 0, 'f'}, {0}};
    for (int o; (o = getopt_long(argc, argv, "", LONG, NULL)) != -1;) {
        switch (o) {
        case 'p': parse_ports(optarg); break;
        case 'c': options.clients = atoi(optarg); break;
        case 'r': options.rooms = atoi(optarg); break;
        case 's': options.seconds = atof(optarg); break;
        case 'w': options.window = atoi(optarg); break;  /* messages in flight in each room */
        case 'R': options.rate = atof(optarg); break;    /* or messages a second of each sender */
        case 'S': options.senders = atoi(optarg); break; /* of each room, with --rate; 0: all */
        case 'j': options.storm = true; break;           /* or all join, and then all leave */
        case 't': read_tokens(optarg); break;
        case 'i': options.pids = optarg; break;
        case 'D': options.redis = optarg; break;
        case 'x': options.spare = optarg; break;
        case 'P': options.pad = atoi(optarg); break;     /* bytes of text in each message */
        case 'h': options.host = optarg; break;
        case 'W': options.patience = atof(optarg); break; /* seconds to wait for clients that get no further */
        case 'n': options.project = optarg; break;       /* up to 32 characters that JSON does not escape */
        case 'f': options.forwarded = true; break;
        case 'd': options.deflate = true; break;         /* accept compression */
        case 'k': options.stuck = atoi(optarg); break;   /* clients that stop reading when all have joined */
        case 'T':
            options.transport_name = optarg;
            options.transport = !strcmp(optarg, "polling") ? &POLLING : &WEBSOCKET;
            if (strcmp(optarg, "polling") && strcmp(optarg, "websocket")) refuse("no such transport");
            break;
        case 'e':
            options.event = event_named(optarg);
            if (!options.event) refuse("no such event");
            break;
        default: refuse("no such option");
        }
    }
    if (options.rate > 0 || options.storm) options.window = 0;
    check_options();
}

int main(int argc, char **argv) {
    parse_options(argc, argv);
    clients = calloc((size_t)options.clients, sizeof *clients);
    rooms = calloc((size_t)options.rooms, sizeof *rooms);
    start_connections();
    double rss_before = server_rss_kb();
    connect_all();
    if (options.storm) storm();
    else if (options.window || options.rate > 0) send_and_measure();
    else stay_idle();
    if (options.stuck) read_out_the_stuck();
    report(rss_before);
    return 0;
}
