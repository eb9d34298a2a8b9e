/* quota.c: see quota.h. Which group a process is in says /proc/self/cgroup (cgroups(7)), where the
 * groups' files are says /proc/self/mountinfo (proc(5)). A v2 group has cpu.max, "quota period" or
 * "max period" (Linux's Documentation/admin-guide/cgroup-v2.rst); a v1 group cpu.cfs_quota_us, -1
 * for none, and cpu.cfs_period_us (Documentation/scheduler/sched-bwc.rst). */
#include "quota.h"

#ifndef __linux__

int sqz_quota_cpus(const char *root) {
    (void)root;
    return 0;
}

#else

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { V1, V2 } version;

static FILE *open_file(const char *root, const char *folder, const char *name) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    return length > 0 && length < (int)sizeof path ? fopen(path, "r") : NULL;
}

/* Whether `word` is one of a comma-separated list. */
static bool list_has(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *item = list; item; item = strchr(item, ',')) {
        item += *item == ',';
        if (strncmp(item, word, length) == 0 && (item[length] == ',' || item[length] == '\0'))
            return true;
    }
    return false;
}

/* Calls found(line, context) for each line, its newline cut off, until that is true. */
static bool find_line(const char *root, const char *name, bool (*found)(char *line, void *context),
                      void *context) {
    FILE *file = open_file(root, "/proc/self", name);
    char *line = NULL;
    size_t capacity = 0;
    bool done = false;
    while (file && !done && getline(&line, &capacity, file) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        done = found(line, context);
    }
    free(line);
    if (file)
        fclose(file);
    return done;
}

/* What is looked for, and what was found. */
typedef struct {
    version version;
    char group[PATH_MAX];   /* the process's, in the whole hierarchy */
    char mounted[PATH_MAX]; /* the group that is mounted: in a container often its own */
    char mount_point[PATH_MAX];
} place;

static bool copy(char target[PATH_MAX], const char *text) {
    int length = snprintf(target, PATH_MAX, "%s", text);
    return length >= 0 && length < PATH_MAX;
}

/* "hierarchy:controllers:group"; v2 has hierarchy 0 and no controllers. */
static bool is_group(char *line, void *context) {
    place *place = context;
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return false;
    *controllers++ = *group++ = '\0';
    bool wanted = place->version == V2 ? strcmp(line, "0") == 0 && *controllers == '\0'
                                       : list_has(controllers, "cpu");
    return wanted && copy(place->group, group);
}

/* "id parent major:minor mounted mount_point options [tags] - type source super_options" */
static bool is_mount(char *line, void *context) {
    place *place = context;
    char type[16], options[256] = "", *tail = strstr(line, " - ");
    if (!tail || sscanf(tail, " - %15s %*s %255s", type, options) < 1)
        return false;
    bool wanted = place->version == V2 ? strcmp(type, "cgroup2") == 0
                                       : strcmp(type, "cgroup") == 0 && list_has(options, "cpu");
    if (!wanted)
        return false;
    *tail = '\0';
    char *fields[5] = {NULL}, *rest = line;
    for (int i = 0; i < 5; i++)
        fields[i] = strtok_r(rest, " ", &rest);
    return fields[4] && copy(place->mounted, fields[3]) && copy(place->mount_point, fields[4]);
}

/* CPUs that one group's files allow, 0 for all. */
static double group_quota(const char *root, const char *folder, version version) {
    double quota = 0, period = 0;
    FILE *file = open_file(root, folder, version == V2 ? "cpu.max" : "cpu.cfs_quota_us");
    int read = file ? fscanf(file, "%lf %lf", &quota, &period) : 0;
    if (file)
        fclose(file);
    if (version == V1 && read == 1) {
        file = open_file(root, folder, "cpu.cfs_period_us");
        read += file && fscanf(file, "%lf", &period) == 1;
        if (file)
            fclose(file);
    }
    return read == 2 && quota > 0 && period > 0 ? quota / period : 0;
}

/* The tightest quota of a hierarchy, 0 for none. */
static double hierarchy_quota(const char *root, version version) {
    place place = {.version = version};
    if (!find_line(root, "cgroup", is_group, &place) ||
        !find_line(root, "mountinfo", is_mount, &place))
        return 0;
    /* From what is mounted down to the group; a group outside of that cannot be looked at. */
    size_t above = strcmp(place.mounted, "/") == 0 ? 0 : strlen(place.mounted);
    const char *below = "";
    if (strncmp(place.group, place.mounted, above) == 0 && place.group[above] == '/' &&
        !strstr(place.group, "/.."))
        below = place.group + above;
    char folder[PATH_MAX];
    int length = snprintf(folder, sizeof folder, "%s%s", place.mount_point, below);
    if (length < 0 || length >= (int)sizeof folder)
        return 0;
    double tightest = 0;
    size_t top = strlen(place.mount_point);
    for (;;) {
        double quota = group_quota(root, folder, version);
        if (quota > 0 && (tightest == 0 || quota < tightest))
            tightest = quota;
        char *last = strrchr(folder, '/');
        if (!last || last < folder + top)
            return tightest;
        *last = '\0';
    }
}

int sqz_quota_cpus(const char *root) {
    double v1 = hierarchy_quota(root, V1), v2 = hierarchy_quota(root, V2);
    double cpus = v1 > 0 && (v2 == 0 || v1 < v2) ? v1 : v2;
    if (cpus <= 0 || cpus >= INT_MAX)
        return 0;
    return (int)cpus + ((double)(int)cpus < cpus);
}

#endif
