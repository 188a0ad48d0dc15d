#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void *give_up(void *memory, int fd, const char **problem, const char *why)
{
    *problem = why;
    free(memory);
    if (fd >= 0)
        close(fd);
    return NULL;
}

void *load_file(const char *path, size_t front, size_t most, size_t *size, const char **problem)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) < 0)
        return give_up(NULL, fd, problem, strerror(errno));
    if (!S_ISREG(status.st_mode) || status.st_size < 0 || (size_t)status.st_size > most)
        return give_up(NULL, fd, problem, "no file, or too large a one");
    *size = (size_t)status.st_size;
    char *memory = calloc(1, front + *size);
    if (!memory)
        return give_up(NULL, fd, problem, "out of memory");
    for (size_t have = 0; have < *size;) {
        ssize_t n = pread(fd, memory + front + have, *size - have, (off_t)have);
        if (n <= 0)
            return give_up(memory, fd, problem, n < 0 ? strerror(errno) : "it became shorter");
        have += (size_t)n;
    }
    close(fd);
    return memory;
}
