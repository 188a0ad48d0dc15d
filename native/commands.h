/* The relay's commands: one a line, one answer a line. See relay.c for the list. */
#ifndef ROAMBED_COMMANDS_H
#define ROAMBED_COMMANDS_H

#include <stdbool.h>

#include "link.h"

struct relay {
    int epoll;
    int home;            /* the namespace that we are in */
    struct link *links;
};

/* Carry out one command and print its answer. Returns false if it was the last one. */
bool command(struct relay *relay, char *line);

#endif
