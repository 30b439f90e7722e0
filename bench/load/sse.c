/* Server-sent events, incrementally, and the checks on what they carry. */
#define _GNU_SOURCE
#include "load.h"

#include <stdlib.h>
#include <string.h>

/* A decimal number at *p, which is left behind it; -1 where there is none. */
static int64_t number(const char **p, const char *end) {
    const char *start = *p;
    int64_t value = 0;
    while (*p < end && **p >= '0' && **p <= '9') value = value * 10 + (*(*p)++ - '0');
    return *p > start ? value : -1;
}

static void check_token(struct conn *c, uint64_t n, uint64_t stamp, uint64_t now) {
    totals.tokens++;
    if (n == c->next) {
        c->next++;
    } else if (n > c->next) {
        totals.gaps += n - c->next;
        c->next = n + 1;
    } else if (n + 1 == c->next) {
        totals.doubled++;
    } else {
        totals.reordered++;
    }
    if (n > totals.skip) hist_add(&totals.latency, now > stamp ? now - stamp : 0);
    if (!c->reached && c->target && c->next > c->target) {
        c->reached = true;
        c->reached_ns = now;
    }
}

/* Every `#number@nanoseconds@` of a data line; anything else that begins with # is text. */
static void find_tokens(struct conn *c, const char *p, const char *end, uint64_t now) {
    while ((p = memchr(p, '#', (size_t)(end - p)))) {
        p++;
        int64_t n = number(&p, end);
        if (n < 0 || p >= end || *p != '@') continue;
        p++;
        int64_t stamp = number(&p, end);
        if (stamp >= 0 && p < end && *p == '@') check_token(c, (uint64_t)n, (uint64_t)stamp, now);
    }
}

static void take_line(struct conn *c, const char *line, size_t len, uint64_t now) {
    const char *end = line + len, *p = line;
    if (len > 3 && memcmp(line, "id:", 3) == 0) {
        p += 3;
        if (p < end && *p == ' ') p++;
        int64_t epoch = number(&p, end), seq = -1;
        if (p < end && *p == '-') {
            p++;
            seq = number(&p, end);
        }
        c->has_id = epoch >= 0 && seq >= 0;
        c->id_epoch = (uint64_t)epoch;
        c->id_seq = (uint64_t)seq;
    } else if (len > 5 && memcmp(line, "data:", 5) == 0) {
        c->has_data = true;
        if (c->check_ids) {
            static const char key[] = "\"merged\":";
            const char *at = memmem(line, len, key, sizeof key - 1);
            if (at) {
                at += sizeof key - 1;
                int64_t merged = number(&at, end);
                c->merged = merged > 0 ? (uint64_t)merged : 1;
            }
        }
        find_tokens(c, line + 5, end, now);
    } else if (len == 0) {
        if (c->has_data) totals.frames++;
        if (c->check_ids && c->has_id && c->has_data) {
            bool dense = c->id_epoch >= c->epoch && (!c->seq || c->id_seq == c->seq + c->merged);
            if (!dense) totals.id_errors++;
            c->epoch = c->id_epoch;
            c->seq = c->id_seq;
        }
        c->has_id = c->has_data = false;
        c->merged = 1;
    }
}

static void keep(struct conn *c, const char *data, size_t len) {
    if (c->line_len + len > c->line_cap) {
        c->line_cap = (uint32_t)(c->line_len + len) * 2;
        c->line = realloc(c->line, c->line_cap);
        if (!c->line) abort();
    }
    memcpy(c->line + c->line_len, data, len);
    c->line_len += (uint32_t)len;
}

/* Lines end in LF or CRLF: no server under test ends them in a bare CR. */
void sse_take(struct conn *c, char *data, size_t len, uint64_t now) {
    char *end = data + len, *newline;
    while (data < end && (newline = memchr(data, '\n', (size_t)(end - data)))) {
        const char *line = data;
        size_t size = (size_t)(newline - data);
        if (c->line_len) {
            keep(c, data, size);
            line = c->line;
            size = c->line_len;
        }
        if (size && line[size - 1] == '\r') size--;
        take_line(c, line, size, now);
        c->line_len = 0;
        data = newline + 1;
    }
    if (data < end) keep(c, data, (size_t)(end - data));
}
