/* Answers of HTTP/1.1 servers: the head, then a body in chunks or until the end of the connection. */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool refuse(struct conn *c, const char *head) {
    if (!totals.http_errors++) fprintf(stderr, "refused: %.200s\n", head);
    c->http = HTTP_DONE;
    return false;
}

static bool has_header(const char *head, const char *name, const char *value) {
    const char *at = strcasestr(head, name);
    if (!at) return false;
    at += strlen(name);
    const char *line_end = strchr(at, '\r'), *found = strcasestr(at, value);
    return found && line_end && found < line_end;
}

/* The head is collected in the line buffer, which the body then uses for torn lines. Answers bytes taken, or -1. */
static ssize_t take_head(struct conn *c, const char *data, size_t len) {
    uint32_t before = c->line_len;
    if (before + len + 1 > c->line_cap) {
        c->line_cap = before + (uint32_t)len + 1024;
        c->line = realloc(c->line, c->line_cap);
        if (!c->line) abort();
    }
    memcpy(c->line + before, data, len);
    c->line_len += (uint32_t)len;
    c->line[c->line_len] = 0;
    char *end = strstr(c->line, "\r\n\r\n");
    if (!end) return c->line_len > 65536 ? -1 : (ssize_t)len;
    end[2] = 0;
    if (strncmp(c->line, "HTTP/1.1 200", 12) != 0) {
        refuse(c, c->line);
        return -1;
    }
    c->http = has_header(c->line, "\r\ntransfer-encoding:", "chunked") ? HTTP_SIZE : HTTP_IDENTITY;
    size_t taken = (size_t)(end + 4 - c->line) - before;
    /* An idle connection keeps no buffer: what is measured is the server's memory, but ours has bounds too. */
    free(c->line);
    c->line = NULL;
    c->line_len = c->line_cap = 0;
    c->chunk_left = 0;
    c->chunk_digits = c->chunk_extension = false;
    c->merged = 1;
    return (ssize_t)taken;
}

/* One byte of a chunk's size line. Answers false for what is none. */
static bool take_size(struct conn *c, char byte) {
    if (byte == '\n') {
        if (!c->chunk_digits) return false;
        c->http = c->chunk_left ? HTTP_DATA : HTTP_TRAILER;
        c->chunk_digits = c->chunk_extension = false;
    } else if (byte == ';') {
        c->chunk_extension = true;
    } else if (byte != '\r' && !c->chunk_extension) {
        char low = (char)(byte | 32);
        int digit = byte >= '0' && byte <= '9' ? byte - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
        if (digit < 0) return false;
        c->chunk_left = c->chunk_left * 16 + (uint64_t)digit;
        c->chunk_digits = true;
    }
    return true;
}

bool http_take(struct conn *c, char *data, size_t len, uint64_t now) {
    char *end = data + len;
    totals.bytes += len;
    while (data < end) {
        size_t left = (size_t)(end - data);
        if (c->http == HTTP_HEAD) {
            ssize_t taken = take_head(c, data, left);
            if (taken < 0) return false;
            data += taken;
        } else if (c->http == HTTP_SIZE) {
            if (!take_size(c, *data++)) return refuse(c, "a chunk without a size");
        } else if (c->http == HTTP_DATA) {
            size_t part = left < c->chunk_left ? left : (size_t)c->chunk_left;
            sse_take(c, data, part, now);
            data += part;
            c->chunk_left -= part;
            if (!c->chunk_left) c->http = HTTP_DATA_END;
        } else if (c->http == HTTP_DATA_END) {
            if (*data++ == '\n') c->http = HTTP_SIZE;
        } else if (c->http == HTTP_IDENTITY) {
            sse_take(c, data, left, now);
            data = end;
        } else {
            c->http = HTTP_DONE;
            return false;
        }
    }
    return c->http != HTTP_TRAILER;
}
