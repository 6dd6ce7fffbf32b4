"""Injects faults from a seed into real daemons on one machine: `python -m chaos`.

PageRank and connected components run on the Debian package graph while daemons are killed, paused, partitioned, slowed,
deprived of disk space and restarted. After every run its digest is compared with that of an undisturbed run, which this
process computes first; no answer is known in advance. A table at the end lists the faults and the time until the next
tick was committed, beside the time that the failure detector should need.

    options      what is asked for, and the named scenarios
    plan         the faults of a run, from the seed: which, when, whom, for how long (pure)
    faults       a fault begins, a fault ends
    fleet        the daemons: processes of ours, and whether one of them ended unasked
    nets         a network namespace for each, joined by...
    tap_switch   ...a switch in user space that cuts, delays and loses by rule (a program of its own)
    disks        a data folder that can be filled up
    watch        where a run stands, asked of somebody who is well
    recovery     from what was seen to how long it took (pure)
    floor        how long the failure detector takes, from the configuration (pure)
    trial        one run, its faults, and the verdict
    campaign     all runs, one after the other
    table        what came out
    leftovers    names by which a later start knows what an earlier one could not remove

The machine's own timing stays random: a seed repeats the faults, not the interleaving.
"""
