/* What the server's processes cost: CPU time with all their threads, and resident memory. */
#include "load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double over_processes(const char *pids, double (*of_one)(int pid)) {
    double sum = 0;
    char *list = strdup(pids), *rest = list, *pid;
    while ((pid = strsep(&rest, ","))) sum += of_one(atoi(pid));
    free(list);
    return sum;
}

static double cpu_of_one(int pid) {
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t)) return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double rss_kb_of(int pid) {
    char path[64], line[256];
    long kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file) && sscanf(line, "VmRSS: %ld", &kb) != 1) continue;
    fclose(file);
    return (double)kb;
}

/* In seconds; NAN where there are none. */
double cpu_of(const char *pids) { return pids ? over_processes(pids, cpu_of_one) : NAN; }

double server_cpu(void) { return cpu_of(options.pids); }

double server_rss_kb(void) { return over_processes(options.pids, rss_kb_of); }
