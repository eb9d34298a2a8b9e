/* quota.h: how much of the machine the process's control groups allow it. */
#ifndef SQZ_BASE_QUOTA_H
#define SQZ_BASE_QUOTA_H

/* CPUs that the tightest CPU quota from the process's own control group up to the root amounts to,
 * rounded up; 0: there is none, or it cannot be told (not Linux, no /proc). Containers are limited
 * so: a process there may see 64 CPUs and be given the time of 2. `root` stands before every path,
 * "" for the real ones. Reads cgroup v2 and v1. */
int sqz_quota_cpus(const char *root);

#endif
