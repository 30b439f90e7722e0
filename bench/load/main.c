/* usage: load PORT REQUESTS BURST MODE
 *
 * REQUESTS: a file with, for every connection, a line `next seq check_ids target length` and `length` bytes of request.
 * BURST: how many connections may be waiting for their answer's head (in mode `race`: for their target) at once.
 * MODE `hold`: connect all, say {"ready":…}, then obey lines on stdin:
 *   until NUMBER TIMEOUT_MS SKIP   count from now until every connection has seen token NUMBER; a JSON line at
 *                                  once, another one in the end
 *   end of file                    exit
 * MODE `race`: connect all, each is done at its own target; one JSON line with each one's time; exit.
 */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct totals totals;

static struct conn *conns;
static uint32_t count, opened, ready, reached, burst;
static bool racing, waiting;
static int poll_fd, port;
static uint64_t began_ns, deadline_ns, cpu_ns;
static char buffer[256 * 1024];

static uint64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void read_requests(const char *path) {
    FILE *file = fopen(path, "r");
    unsigned long next, seq, check, target, length;
    uint32_t cap = 0;
    if (!file) die(path);
    while (fscanf(file, "%lu %lu %lu %lu %lu", &next, &seq, &check, &target, &length) == 5) {
        if (count == cap && !(conns = realloc(conns, (cap = cap ? cap * 2 : 1024) * sizeof *conns))) die("memory");
        char *request = malloc(length);
        if (fgetc(file) != '\n' || fread(request, 1, length, file) != length) die("a torn request");
        conns[count++] = (struct conn){.fd = -1, .next = next, .seq = seq, .check_ids = check, .target = target,
                                       .request = request, .request_len = (uint32_t)length};
    }
    fclose(file);
}

static void open_next(void) {
    struct conn *c = &conns[opened++];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.ptr = c};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->connect_ns = now_ns();
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) die("connect");
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0) die("epoll_ctl");
}

static void drop(struct conn *c) {
    close(c->fd);
    c->fd = -1;
    free(c->line);
    c->line = NULL;
    c->line_len = c->line_cap = 0;
}

static void send_request(struct conn *c) {
    ssize_t n = write(c->fd, c->request + c->sent, c->request_len - c->sent);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) die("write");
    c->sent += (uint32_t)n;
    if (c->sent == c->request_len) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = c};
        epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event);
    }
}

static void on_event(struct conn *c, uint32_t events) {
    if (c->fd < 0) return;
    if ((events & EPOLLOUT) && c->sent < c->request_len) send_request(c);
    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) return;
    bool before = c->reached, over = false;
    ssize_t n = read(c->fd, buffer, sizeof buffer);
    if (n < 0 && errno == EAGAIN) return;
    totals.reads++;
    if (n > 0) over = !http_take(c, buffer, (size_t)n, now_ns());
    if (!c->counted_ready && (c->http != HTTP_HEAD || n <= 0)) {
        c->counted_ready = true;
        ready++;
    }
    if (c->reached && !before) reached++;
    if (n <= 0 || over || (racing && c->reached)) {
        if (!c->reached) totals.cut++;
        drop(c);
    }
}

static void report(const char *why) {
    uint64_t faults = totals.gaps + totals.doubled + totals.reordered + totals.id_errors;
    bool lost = faults + totals.http_errors + totals.cut > 0;
    printf("{\"why\":\"%s\",\"sound\":%s,\"connections\":%u,\"reached\":%u,\"wall_ns\":%llu,\"cpu_ns\":%llu", why,
           !lost && reached == count ? "true" : "false", count, reached, (unsigned long long)(now_ns() - began_ns),
           (unsigned long long)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns));
#define FIELD(name) printf(",\"" #name "\":%llu", (unsigned long long)totals.name)
    FIELD(tokens), FIELD(frames), FIELD(bytes), FIELD(reads);
    FIELD(gaps), FIELD(doubled), FIELD(reordered), FIELD(id_errors), FIELD(http_errors), FIELD(cut);
    printf(",");
    hist_json(&totals.latency, "latency", true);
    if (racing) {
        static struct hist times;
        for (uint32_t i = 0; i < count; i++)
            if (conns[i].reached) hist_add(&times, conns[i].reached_ns - conns[i].connect_ns);
        printf(",");
        hist_json(&times, "times", true);
        printf(",\"each_ns\":[");
        for (uint32_t i = 0; i < count; i++)
            printf("%s%llu", i ? "," : "", (unsigned long long)(conns[i].reached_ns - conns[i].connect_ns));
        printf("]");
    }
    printf("}\n");
    fflush(stdout);
    waiting = false;
}

static void begin(uint64_t timeout_ms) {
    began_ns = now_ns();
    cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    deadline_ns = began_ns + timeout_ms * 1000000u;
    waiting = true;
}

/* A command of the controller; answers false at the end of its file. */
static bool obey(void) {
    unsigned long target, timeout_ms, skip;
    if (!fgets(buffer, sizeof buffer, stdin)) return false;
    if (sscanf(buffer, "until %lu %lu %lu", &target, &timeout_ms, &skip) != 3) die("no such command");
    memset(&totals, 0, sizeof totals);
    totals.skip = skip;
    reached = 0;
    for (uint32_t i = 0; i < count; i++) {
        conns[i].target = target;
        conns[i].reached = conns[i].next > target;
        reached += conns[i].reached;
        /* One that was lost in an earlier phase still is. */
        totals.cut += conns[i].fd < 0;
    }
    printf("{\"counting\":true}\n");
    fflush(stdout);
    begin(timeout_ms);
    return true;
}

static void allow_many_files(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static void open_allowed(void) {
    while (opened < count && opened - (racing ? reached + (uint32_t)totals.cut : ready) < burst) open_next();
}

/* Serves until what it was asked for has been said: in mode `hold`, until the controller has gone. */
static void serve(void) {
    struct epoll_event events[1024];
    bool announced = racing;
    for (;;) {
        open_allowed();
        if (!announced && ready == count) {
            report("ready");
            announced = true;
        }
        if (announced && waiting && reached + totals.cut >= count) report("reached");
        if (racing && !waiting) return;
        int n = epoll_wait(poll_fd, events, 1024, waiting ? 100 : -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) on_event(events[i].data.ptr, events[i].events);
            else if (!obey()) return;
        }
        if (waiting && now_ns() > deadline_ns) {
            report("late");
            announced = true;
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 5) return fprintf(stderr, "usage: load PORT REQUESTS BURST hold|race\n"), 2;
    allow_many_files();
    port = atoi(argv[1]);
    burst = (uint32_t)atoi(argv[3]);
    racing = strcmp(argv[4], "race") == 0;
    read_requests(argv[2]);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    /* Lines are read one by one from stdin: nothing may wait unseen in a buffer of stdio. */
    setvbuf(stdin, NULL, _IONBF, 0);
    struct epoll_event control = {.events = EPOLLIN, .data.ptr = NULL};
    if (!racing) epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &control);
    begin(600000);
    serve();
    return 0;
}
