/* Commands about what a direction does: settings, tables, and schedules. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"

enum kind { RATE, TIME, SHARE, NUMBER };

static const double MOST[] = {[RATE] = 1e12, [TIME] = 600e9, [SHARE] = CHANCE_UNIT, [NUMBER] = 256u << 20};
static const double MOST_TIME = 4e18; /* ns */

static const struct field {
    const char *name;
    enum kind kind;
    size_t at;
} FIELDS[] = {
    {"rate", RATE, offsetof(struct shape, rate)},
    {"delay", TIME, offsetof(struct shape, delay)},
    {"jitter", TIME, offsetof(struct shape, jitter)},
    {"loss", SHARE, offsetof(struct shape, loss)},
    {"enter", SHARE, offsetof(struct shape, bursts.enter)},
    {"leave", SHARE, offsetof(struct shape, bursts.leave)},
    {"bad", SHARE, offsetof(struct shape, bursts.bad)},
    {"good", SHARE, offsetof(struct shape, bursts.good)},
    {"queue", NUMBER, offsetof(struct shape, queue)},
    {"packets", NUMBER, offsetof(struct shape, packets)},
    {"reorder", SHARE, offsetof(struct shape, reorder)},
    {"duplicate", SHARE, offsetof(struct shape, duplicate)},
    {"corrupt", SHARE, offsetof(struct shape, corrupt)},
};
enum { FIELD_COUNT = sizeof FIELDS / sizeof *FIELDS };

static bool parse_field(struct shape *shape, const struct field *field, const char *word)
{
    char *at = (char *)shape + field->at;
    double value;
    if (field->kind == RATE && strcmp(word, "inf") == 0)
        value = INFINITY;
    else if (!parse_number(word, MOST[field->kind], &value))
        return false;
    if (field->kind == RATE)
        *(double *)at = value;
    else if (field->kind == TIME)
        *(ns_t *)at = (ns_t)value;
    else if (field->kind == SHARE)
        *(uint32_t *)at = (uint32_t)value;
    else
        *(uint64_t *)at = (uint64_t)value;
    return true;
}

static const struct table *find_table(const struct relay *relay, const char *id)
{
    const struct table *table = relay->tables;
    while (table && strcmp(table->id, id) != 0)
        table = table->next;
    return table;
}

static const struct schedule *find_schedule(const struct relay *relay, const char *id)
{
    const struct schedule *schedule = relay->schedules;
    while (schedule && strcmp(schedule->id, id) != 0)
        schedule = schedule->next;
    return schedule;
}

/* One `name=value` of a shape. Prints what is wrong. */
static bool parse_setting(const struct relay *relay, struct shape *shape, char *word)
{
    char *value = strchr(word, '=');
    if (value)
        *value++ = '\0';
    if (value && strcmp(word, "table") == 0) {
        shape->table = find_table(relay, value);
        if (!shape->table)
            printf("error no table %s\n", value);
        return shape->table != NULL;
    }
    for (int i = 0; value && i < FIELD_COUNT; i++)
        if (strcmp(word, FIELDS[i].name) == 0) {
            bool good = parse_field(shape, &FIELDS[i], value);
            if (!good)
                printf("error %s is out of range: %s\n", word, value);
            return good;
        }
    printf("error no setting %s\n", word);
    return false;
}

void command_set(struct relay *relay, char **words)
{
    struct shape shape = {.rate = INFINITY};
    struct direction *d = parse_direction(relay, words);
    if (!d)
        return;
    for (char **word = words + 3; *word; word++)
        if (!parse_setting(relay, &shape, *word))
            return;
    const struct bursts *b = &shape.bursts;
    shape.bursty = b->enter || b->leave || b->bad || b->good;
    direction_set(d, &shape);
    printf("ok\n");
}

void command_get(struct relay *relay, char **words)
{
    struct direction *d = parse_direction(relay, words);
    if (!d)
        return;
    direction_advance(d, now_ns());
    const struct shape *shape = strcmp(words[3], "set") == 0 ? &d->base : &d->shape;
    printf("ok table=%s bursty=%d plays=%s", shape->table ? shape->table->id : "-", shape->bursty,
           d->player.schedule ? d->player.schedule->id : "-");
    for (int i = 0; i < FIELD_COUNT; i++) {
        const char *at = (const char *)shape + FIELDS[i].at;
        switch (FIELDS[i].kind) {
        case RATE: printf(" %s=%.3f", FIELDS[i].name, *(const double *)at); break;
        case TIME: printf(" %s=%" PRId64, FIELDS[i].name, *(const ns_t *)at); break;
        case SHARE: printf(" %s=%" PRIu32, FIELDS[i].name, *(const uint32_t *)at); break;
        case NUMBER: printf(" %s=%" PRIu64, FIELDS[i].name, *(const uint64_t *)at); break;
        }
    }
    printf("\n");
}

void command_table(struct relay *relay, char **words)
{
    const char *problem;
    struct table *table = table_load(words[1], words[2], &problem);
    if (!table) {
        printf("error the table cannot be used: %s\n", problem);
        return;
    }
    table->next = relay->tables;
    relay->tables = table;
    printf("ok\n");
}

void command_schedule(struct relay *relay, char **words)
{
    bool chances = strcmp(words[2], "chances") == 0, loop = strcmp(words[4], "loop") == 0;
    double length;
    if (!parse_number(words[3], MOST_TIME, &length)) {
        printf("error a length is a number of ns, not %s\n", words[3]);
        return;
    }
    const char *problem;
    struct schedule *schedule = schedule_load(words[1], words[5], chances, loop, (ns_t)length, &problem);
    if (!schedule) {
        printf("error the schedule cannot be used: %s\n", problem);
        return;
    }
    schedule->next = relay->schedules;
    relay->schedules = schedule;
    printf("ok\n");
}

void command_play(struct relay *relay, char **words)
{
    struct direction *d = parse_direction(relay, words);
    bool negative = words[4][0] == '-'; /* before this machine started: it is as far as it would be */
    double begin;
    if (!d)
        return;
    const struct schedule *schedule = find_schedule(relay, words[3]);
    if (!schedule) {
        printf("error no schedule %s\n", words[3]);
    } else if (!parse_number(words[4] + negative, MOST_TIME, &begin)) {
        printf("error a beginning is a time in ns, not %s\n", words[4]);
    } else {
        direction_play(d, schedule, (ns_t)(negative ? -begin : begin));
        printf("ok\n");
    }
}

void command_rest(struct relay *relay, char **words)
{
    struct direction *d = parse_direction(relay, words);
    if (!d)
        return;
    direction_play(d, NULL, 0);
    printf("ok\n");
}
