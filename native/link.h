/* A link: two interfaces and what goes on between them, in two directions. */
#ifndef ROAMBED_LINK_H
#define ROAMBED_LINK_H

#include "direction.h"

#define LINK_NAME 48

struct end {
    struct link *link;
    int side;
    int fd;
    bool dead;                       /* its interface is gone, with its namespace */
};

struct link {
    struct link *next;
    char name[LINK_NAME];
    bool carrier;
    struct end ends[2];
    struct direction directions[2];  /* [0] from end 0 to end 1 */
};

struct link *link_new(const char *name, const int fds[2]);
void link_free(struct link *link); /* closes its file descriptors, which removes the interfaces */
void link_seed(struct link *link, uint64_t seed);
int link_carrier(struct link *link, bool up);

/* Take an end's interface away: all that is on the way from it goes on, all for it is an error. */
void link_cut_end(struct link *link, int side);

/* Give an end that has none an interface. */
int link_join_end(struct link *link, int side, int fd);

#endif
