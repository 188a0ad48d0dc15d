/* The relay's commands: one a line, one answer a line. See relay.c for the list. */
#ifndef ROAMBED_COMMANDS_H
#define ROAMBED_COMMANDS_H

#include <stdbool.h>

#include "lateness.h"
#include "link.h"
#include "priority.h"

struct relay {
    int epoll;
    int home;                        /* the namespace that we are in */
    struct link *links;
    struct table *tables;            /* kept to the end, as are the schedules: links come back to them */
    struct schedule *schedules;
    struct lateness lateness;        /* since somebody last asked */
    struct priority priority;
};

/* Carry out one command and print its answer. Returns false if it was the last one. */
bool command(struct relay *relay, char *line);

/* Free all that commands have made. */
void relay_clear(struct relay *relay);

/* What commands do, by what they are about. Each takes the words of its line, the last followed by NULL. */
void command_set(struct relay *relay, char **words);
void command_get(struct relay *relay, char **words);
void command_table(struct relay *relay, char **words);
void command_schedule(struct relay *relay, char **words);
void command_play(struct relay *relay, char **words);
void command_rest(struct relay *relay, char **words);
void command_stats(struct relay *relay, char **words);
void command_statsall(struct relay *relay, char **words);
void command_health(struct relay *relay, char **words);

/* Parts of their words. The last prints what is wrong itself. */
struct link **find_link(struct relay *relay, const char *name);
bool parse_number(const char *word, double most, double *value); /* in [0, most] */
struct direction *parse_direction(struct relay *relay, char **words); /* words 1 and 2 */

#endif
