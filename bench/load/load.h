/* The load generator: many SSE viewers on one thread. Its command line stands in main.c. */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A histogram of nanoseconds with 64 buckets per power of two: within 1.6 % of the truth from 64 ns to 2^63 ns. */
enum { HIST_SUB = 64, HIST_BUCKETS = 58 * HIST_SUB };

struct hist {
    uint64_t count, max;
    double sum;
    uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t ns);
uint64_t hist_at(const struct hist *h, double share);
void hist_json(const struct hist *h, const char *name, bool buckets);

/* What all connections have seen since the last reset. */
struct totals {
    uint64_t tokens, frames, bytes, reads;
    uint64_t gaps, doubled, reordered, id_errors, http_errors, cut;
    uint64_t skip; /* tokens up to this number are checked but not timed */
    struct hist latency;
};

enum http_state { HTTP_HEAD, HTTP_SIZE, HTTP_DATA, HTTP_DATA_END, HTTP_TRAILER, HTTP_IDENTITY, HTTP_DONE };

struct conn {
    int fd;
    bool counted_ready, reached;
    const char *request;
    uint32_t request_len, sent;
    /* HTTP */
    enum http_state http;
    uint64_t chunk_left;
    bool chunk_digits, chunk_extension;
    /* SSE: the line that a read tore, and the event so far */
    char *line;
    uint32_t line_len, line_cap;
    bool has_id, has_data;
    uint64_t id_epoch, id_seq, merged;
    /* the checks */
    bool check_ids;
    uint64_t next, epoch, seq, target;
    uint64_t connect_ns, reached_ns;
};

extern struct totals totals;

uint64_t now_ns(void);

/* Answers false when the connection is over: the body has ended, or what came makes no sense. */
bool http_take(struct conn *c, char *data, size_t len, uint64_t now);
void sse_take(struct conn *c, char *data, size_t len, uint64_t now);

#endif
