"""Injects faults from a seed into real daemons on one machine: `python -m chaos`.

PageRank and connected components run on the Debian package graph while daemons are killed, paused, partitioned, slowed,
deprived of disk space and restarted. After every run its digest is compared with that of an undisturbed run, which this
process computes first; no answer is known in advance. A table at the end lists the faults and the time until the next
tick was committed, beside the time that the failure detector should need.

    options      the command line options, and the named scenarios
    plan         the faults of a run, from the seed: which, when, where, for how long (pure)
    faults       begins and ends a fault
    fleet        the daemons: child processes, and unexpected exits
    nets         a network namespace for each, connected by...
    tap_switch   ...a switch in user space that cuts, delays and loses by rule (a separate program)
    disks        a data folder that can be filled up
    watch        polls a healthy daemon for a run's progress
    recovery     the recovery time, from observations (pure)
    floor        the failure detector's time, from the configuration (pure)
    trial        one run, its faults, and the verdict
    campaign     all runs, one after the other
    table        the results
    leftovers    names by which a later start finds what an earlier one could not remove

The machine's own timing stays random: a seed repeats the faults, not the interleaving.
"""
