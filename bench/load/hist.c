/* Log-linear histogram, in the manner of HDR histograms. */
#include "load.h"

#include <stdio.h>

static unsigned bucket_of(uint64_t ns) {
    if (ns < HIST_SUB) return (unsigned)ns;
    unsigned power = 63 - (unsigned)__builtin_clzll(ns); /* at least 6 */
    unsigned sub = (unsigned)(ns >> (power - 6)) - HIST_SUB;
    unsigned index = (power - 5) * HIST_SUB + sub;
    return index < HIST_BUCKETS ? index : HIST_BUCKETS - 1;
}

/* The highest value that falls into a bucket. */
static uint64_t bucket_top(unsigned index) {
    if (index < HIST_SUB) return index;
    unsigned power = index / HIST_SUB + 5;
    uint64_t sub = index % HIST_SUB + HIST_SUB;
    return ((sub + 1) << (power - 6)) - 1;
}

void hist_add(struct hist *h, uint64_t ns) {
    h->bucket[bucket_of(ns)]++;
    h->count++;
    h->sum += (double)ns;
    if (ns > h->max) h->max = ns;
}

/* Nearest rank; never more than the greatest value seen. */
uint64_t hist_at(const struct hist *h, double share) {
    uint64_t rank = (uint64_t)(share * (double)h->count), seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen > rank) return bucket_top(i) < h->max ? bucket_top(i) : h->max;
    }
    return h->max;
}

void hist_json(const struct hist *h, const char *name, bool buckets) {
    double mean = h->count ? h->sum / (double)h->count : 0;
    printf("\"%s\":{\"count\":%llu,\"mean\":%.0f,\"max\":%llu", name, (unsigned long long)h->count, mean,
           (unsigned long long)h->max);
    static const struct {
        const char *name;
        double share;
    } shares[] = {{"p50", .5}, {"p90", .9}, {"p99", .99}, {"p999", .999}};
    for (unsigned i = 0; i < sizeof shares / sizeof *shares; i++)
        printf(",\"%s\":%llu", shares[i].name, (unsigned long long)hist_at(h, shares[i].share));
    if (buckets) {
        const char *comma = "";
        printf(",\"buckets\":[");
        /* Four to one: for curves, 16 per power of two are fine enough. */
        for (unsigned i = 0; i < HIST_BUCKETS; i += 4) {
            uint64_t n = h->bucket[i] + h->bucket[i + 1] + h->bucket[i + 2] + h->bucket[i + 3];
            if (!n) continue;
            printf("%s[%llu,%llu]", comma, (unsigned long long)bucket_top(i + 3), (unsigned long long)n);
            comma = ",";
        }
        printf("]");
    }
    printf("}");
}
