/* Reading what the controller hands over in files: tables and schedules. */
#ifndef ROAMBED_LOAD_H
#define ROAMBED_LOAD_H

#include <stddef.h>

/* The file's content behind `front` zero bytes, in memory that is the caller's to free; its length goes to `*size`.
 * NULL, with `*problem` saying why, if it cannot be read or holds more than `most` bytes. */
void *load_file(const char *path, size_t front, size_t most, size_t *size, const char **problem);

#endif
