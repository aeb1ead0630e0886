/* An open-loop HTTP client: requests leave by the clock, whether or not earlier ones were answered.
 *
 * wrk waits for an answer before it asks again, so a server that stalls is asked less and looks better than it
 * is. Here request k is due at start + k/RATE, and its latency counts from then, even if all connections were
 * busy when it was due. In C, because the client shares the server's cores: an interpreter would be measured too.
 *
 *   openloop HOST PORT RATE SECONDS CONNECTIONS FILE     FILE holds one complete HTTP request
 *
 * The first tenth is warm-up. Prints one line of JSON; times are in seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define BUFFER 65536
#define GRACE 5.0 /* for the last answers */

struct connection {
    int socket;
    int busy;
    long request; /* the one it waits for */
    size_t filled;
    char buffer[BUFFER + 1];
};

static struct sockaddr_in server;
static int poller;
static char *message;
static size_t message_length;
static long errors;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void open_connection(struct connection *c) {
    int on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (c->socket < 0 || connect(c->socket, (struct sockaddr *)&server, sizeof server)) fail("connect");
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->socket, &event)) fail("epoll_ctl");
    c->filled = 0;
}

static void reopen(struct connection *c) {
    close(c->socket);
    open_connection(c);
}

/* The request is small against a socket's buffer: a partial write means that the peer has left. */
static int write_request(struct connection *c) {
    return send(c->socket, message, message_length, MSG_NOSIGNAL) == (ssize_t)message_length;
}

static void ask(struct connection *c, long request) {
    c->busy = 1;
    c->request = request;
    if (!write_request(c)) { /* closed while idle, as servers may */
        reopen(c);
        if (!write_request(c)) fail("send");
    }
}

/* The length of a complete response, or 0. */
static size_t complete(struct connection *c, int *status, int *closes) {
    char *head, *end, *line;
    size_t length = 0;
    c->buffer[c->filled] = 0;
    if (!(end = strstr(c->buffer, "\r\n\r\n"))) return 0;
    head = c->buffer;
    *status = atoi(head + 9);
    *closes = 0;
    for (line = strstr(head, "\r\n"); line && line < end; line = strstr(line + 2, "\r\n")) {
        if (!strncasecmp(line + 2, "content-length:", 15)) length = strtoul(line + 17, NULL, 10);
        if (!strncasecmp(line + 2, "connection: close", 17)) *closes = 1;
        if (!strncasecmp(line + 2, "transfer-encoding: chunked", 26)) {
            char *last = strstr(end + 2, "\r\n0\r\n\r\n");
            return last ? (size_t)(last + 7 - head) : 0;
        }
    }
    length += end + 4 - head;
    return length <= c->filled ? length : 0;
}

/* 1 when a good answer is complete. */
static int hear(struct connection *c) {
    int status = 0, closes = 0;
    ssize_t got = recv(c->socket, c->buffer + c->filled, BUFFER - c->filled, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (got <= 0) {
        if (c->busy && c->filled) errors++, c->busy = 0; /* cut in the middle of an answer */
        reopen(c);
        if (c->busy && !write_request(c)) fail("send"); /* closed before it read: ask again, late as it is */
        return 0;
    }
    c->filled += got;
    if (!complete(c, &status, &closes)) return 0;
    c->filled = 0;
    c->busy = 0;
    if (closes) reopen(c);
    if (status == 200) return 1;
    errors++;
    return 0;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: %s HOST PORT RATE SECONDS CONNECTIONS FILE\n", argv[0]);
        return 64;
    }
    double rate = atof(argv[3]), seconds = atof(argv[4]);
    int connections = atoi(argv[5]);
    long total = (long)(rate * seconds), next = 0, answered = 0, kept = 0, first = total / 10;
    double *latencies = malloc(sizeof *latencies * (total + 1));
    struct connection *all = calloc(connections, sizeof *all), **idle = calloc(connections, sizeof *idle);
    struct epoll_event *events = calloc(connections, sizeof *events);
    int idle_from = 0, idle_count = 0; /* a ring: the one that rested longest is next */

    FILE *file = fopen(argv[6], "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail(argv[6]);
    message_length = ftell(file);
    rewind(file);
    message = malloc(message_length);
    if (fread(message, 1, message_length, file) != message_length) fail(argv[6]);

    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[2]));
    if (!inet_aton(argv[1], &server.sin_addr)) fail(argv[1]);
    prctl(PR_SET_TIMERSLACK, 1UL); /* the default lets a timer be 50 us late */
    poller = epoll_create1(0);
    for (int i = 0; i < connections; i++) {
        open_connection(&all[i]);
        idle[idle_count++] = &all[i];
    }

    double start = now() + 0.01, t;
    while (answered + errors < total && (t = now()) < start + seconds + GRACE) {
        while (idle_count && next < total && start + next / rate <= t) {
            struct connection *c = idle[idle_from];
            idle_from = (idle_from + 1) % connections;
            idle_count--;
            ask(c, next++);
            t = now();
        }
        double wait = idle_count && next < total ? start + next / rate - t : 0.1;
        if (wait < 0) wait = 0;
        struct timespec timeout = {(time_t)wait, (long)((wait - (time_t)wait) * 1e9)};
        int ready = epoll_pwait2(poller, events, connections, &timeout, NULL);
        if (ready < 0 && errno != EINTR) fail("epoll_pwait2");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            int was_busy = c->busy;
            if (hear(c)) {
                double latency = now() - (start + c->request / rate);
                if (c->request >= first) latencies[kept++] = latency;
                answered++;
            }
            if (was_busy && !c->busy) idle[(idle_from + idle_count++) % connections] = c;
        }
    }
    qsort(latencies, kept, sizeof *latencies, by_size);
#define AT(p) (kept ? latencies[(long)((kept - 1) * (p))] : 0.0)
    printf("{\"requests\": %ld, \"errors\": %ld, \"unanswered\": %ld, \"p50\": %.7f, \"p90\": %.7f, "
           "\"p99\": %.7f, \"p999\": %.7f, \"max\": %.7f}\n",
           answered, errors, total - answered - errors, AT(0.5), AT(0.9), AT(0.99), AT(0.999), AT(1.0));
    return 0;
}
