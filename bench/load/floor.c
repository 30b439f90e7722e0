/* usage: floor PORT
 *
 * The least work a server can do: one thread, epoll, one write per socket. GET /NUMBER subscribes to a stream; a
 * publisher begins its connection with `P`, then sends lines `NUMBER SEQ TEXT\n`. What one read of the publisher's
 * socket holds for a stream is one frame per token and one write per viewer, chunk framing included.
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
#include <sys/resource.h>
#include <unistd.h>

enum { STREAMS = 65536, READ = 65536, OUT = 65536 * 16 };

struct peer {
    int fd;
    bool begun, publishes;
    struct peer *next; /* of the same stream */
    char *line;        /* a publisher's torn line */
    size_t kept;
};

static struct peer *viewers[STREAMS];
static char in[READ * 2], out[OUT], data[OUT - 64];
static size_t data_len;
static int poll_fd;

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void write_all(struct peer *p, const char *bytes, size_t len) {
    ssize_t n = send(p->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    /* A viewer that does not read is not served further: the harness sees the gap and voids the run. */
    if (n != (ssize_t)len && n >= 0) shutdown(p->fd, SHUT_RDWR);
}

static void send_to(unsigned stream) {
    if (!data_len) return;
    size_t len = (size_t)sprintf(out, "%zx\r\n", data_len);
    memcpy(out + len, data, data_len);
    len += data_len;
    out[len++] = '\r', out[len++] = '\n';
    for (struct peer *p = viewers[stream]; p; p = p->next) write_all(p, out, len);
    data_len = 0;
}

static void take_lines(struct peer *p, char *text, size_t len) {
    char *end = text + len, *newline;
    unsigned current = 0;
    while ((newline = memchr(text, '\n', (size_t)(end - text)))) {
        unsigned stream = (unsigned)strtoul(text, &text, 10) % STREAMS;
        unsigned long seq = strtoul(text, &text, 10);
        if (stream != current || data_len + 4096 > sizeof data) send_to(current);
        current = stream;
        data_len += (size_t)snprintf(data + data_len, sizeof data - data_len,
                                     "id: 1-%lu\nevent: text.delta\n"
                                     "data: {\"type\":\"text.delta\",\"block\":0,\"text\":\"%.*s\"}\n\n",
                                     seq, (int)(newline - text - 1), text + 1);
        text = newline + 1;
    }
    send_to(current);
    p->kept = (size_t)(end - text);
    memcpy(p->line, text, p->kept);
}

/* The first bytes of a connection say what it is. */
static void begin(struct peer *p, char *text, size_t len) {
    p->begun = true;
    if (text[0] == 'P') {
        p->publishes = true;
        p->line = malloc(READ);
        take_lines(p, text + 1, len - 1);
        return;
    }
    static const char head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                               "transfer-encoding: chunked\r\n\r\n";
    const char *path = memchr(text, '/', len);
    unsigned stream = path ? (unsigned)strtoul(path + 1, NULL, 10) % STREAMS : 0;
    p->next = viewers[stream];
    viewers[stream] = p;
    write_all(p, head, sizeof head - 1);
}

static void leave(struct peer *p) {
    for (unsigned i = 0; i < STREAMS; i++)
        for (struct peer **at = &viewers[i]; *at; at = &(*at)->next)
            if (*at == p) {
                *at = p->next;
                i = STREAMS - 1;
                break;
            }
    close(p->fd);
    free(p->line);
    free(p);
}

static void on_event(struct peer *p) {
    size_t kept = p->publishes ? p->kept : 0;
    if (kept) memcpy(in, p->line, kept);
    ssize_t n = read(p->fd, in + kept, READ - 1 - kept);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        leave(p);
        return;
    }
    in[kept + (size_t)n] = 0;
    if (!p->begun) begin(p, in, (size_t)n);
    else if (p->publishes) take_lines(p, in, kept + (size_t)n);
}

static void take_in(int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *p = calloc(1, sizeof *p);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};
        p->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: floor PORT\n"), 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[1024];
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
    if (listen(listener, 2048) < 0) die("listen");
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int n = epoll_wait(poll_fd, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) on_event(events[i].data.ptr);
            else take_in(listener);
        }
    }
}
