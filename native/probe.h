#ifndef ROAMBED_PROBE_H
#define ROAMBED_PROBE_H

int probe_rate(int argc, char **argv);
int probe_stream(int argc, char **argv);
int probe_gap(int argc, char **argv);

#endif
