/* Latencies, in buckets of 1/16 of a power of two of microseconds. */
#include "load.h"

#include <math.h>

enum { BUCKETS = 1024 };

static uint64_t buckets[BUCKETS], total;

static int bucket_of(uint64_t us) {
    if (us < 16) return (int)us;
    int exponent = 63 - __builtin_clzll(us);
    int bucket = (exponent - 3) * 16 + (int)((us >> (exponent - 4)) & 15);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

void count_latency(uint64_t nanoseconds) {
    buckets[bucket_of(nanoseconds / 1000)]++;
    total++;
}

/* The lower bound of the bucket that a share of them comes up to; not a number if there are none. */
double percentile_ms(double q) {
    uint64_t seen = 0;
    for (int i = 0; total && i < BUCKETS; i++) {
        seen += buckets[i];
        if ((double)seen >= q * (double)total)
            return (i < 16 ? i : (double)((16 + i % 16) * (1ull << (i / 16 - 1)))) / 1000;
    }
    return NAN;
}
