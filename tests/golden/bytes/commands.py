"""An example of every command of the log. Fields are given by name, so that a swap of two shows."""

from __future__ import annotations

from daemon.state import commands as log
from daemon.state.commands import ARCHIVE_LIMITS, CommandCodec, to_bits
from daemon.version import NEWEST
from tests.golden.bytes.section import Section, from_hex, named, only, packed, same
from tests.golden.golden_file import Entries

ALPHA = log.Identity(name="alpha", generation=3)
BETA = log.Identity(name="beta", generation=1_700_000_000_000_000_007)
HOLDING = log.Holding(load="load-1", partitions=to_bits({0, 9}))
GRAPH = log.AddGraph(
    request="r-2",
    name="web",
    load="load-1",
    epoch=4,
    node_count=11,
    edge_count=12,
    partition_count=10,
    cross_edges=13,
    id_type="string",
    node_columns=(("age", "int64"), ("name", "string")),
    edge_columns=(("weight", "float64"),),
    directed=False,
)
PROGRAM = log.ProgramVersion(
    name="rank",
    source=b"class Rank: ...",
    described='{"ticks": 9}',
    added_unix_ns=1_700_000_000_000_000_011,
    is_current=False,
    digest="d1",
)
START = log.StartRun(
    request="r-4",
    program="rank",
    graph="web",
    load="load-1",
    params=(("damping", "0.85"), ("seed", "3")),
    ticks=50,
    interval_ns=1_000_000_000,
    paced=False,
    phases=0b1011,
    columns=("rank", "share"),
    started_unix_ns=1_700_000_000_000_000_012,
    checkpoint_ticks=5,
    digest="d1",
    runs_max=4,
    may_queue=True,
)
PACED = log.StartRun(
    request="r-5",
    program="rank",
    graph="web",
    load="load-1",
    params=(),
    ticks=51,
    interval_ns=0,
    paced=True,
    phases=0b1000,
    columns=(),
    started_unix_ns=1,
    checkpoint_ticks=-1,
)
EXAMPLES = (
    log.FormView(request="r-1", epoch=4, members=(ALPHA, BETA), virtual_nodes=150, replicas=2),
    GRAPH,
    log.DropGraph(request="r-3", name="web", load="load-1", by_force=True),
    START,
    PACED,
    log.StopRun(request="r-6", run="rank-7", by_force=True),
    log.EndRun(
        request="r-7",
        run="rank-7",
        outcome="failed",
        tick=30,
        failure="ZeroDivisionError",
        cross_bytes=4096,
        ended_unix_ns=1_700_000_000_000_000_013,
        figures='{"total": 2.5}',
        result_bytes=8192,
    ),
    log.HoldParts(request="r-8", shard=BETA, holdings=(HOLDING,), is_whole=True, disk=41),
    log.DropParts(request="r-9", shard=BETA, holding=HOLDING),
    log.Drain(request="r-10", shard="beta", is_on=True),
    log.ResumeRun(
        request="r-11",
        run="rank-7",
        epoch=4,
        tick=30,
        sources=(log.StateSource(shard="beta", partitions=to_bits({1, 8})),),
        reached=31,
        origin=2,
    ),
    log.Restore(
        request="r-12",
        graphs=(GRAPH,),
        runs=(
            log.KeptRun(
                number=7,
                start=START,
                state="completed",
                tick=30,
                failure="none",
                cross_bytes=4096,
                ended_unix_ns=1_700_000_000_000_000_014,
                figures='{"total": 2.5}',
                result_bytes=8192,
            ),
        ),
        runs_begun=9,
        programs=(PROGRAM,),
    ),
    log.Settled(request="r-13", shard=BETA, epoch=4),
    log.AddProgram(request="r-14", version=PROGRAM),
    log.DropProgram(request="r-15", name="rank"),
    log.ExpireResults(request="r-16", runs=("rank-7", "rank-8")),
    log.RaiseVersion(request="r-17", version=4),
)
TYPES = tuple(log._TYPES.values())
BY_NAME = named(example for example in EXAMPLES if type(example) in TYPES)


def make() -> Entries:
    """Encodes every command; an entry of the log and one of a backup's file have the same bytes."""
    entries = {}
    for name, example in BY_NAME.items():
        data = CommandCodec(version=NEWEST).encode(example)
        assert CommandCodec(ARCHIVE_LIMITS, NEWEST).encode(example) == data, name
        entries[name] = packed([data])
    return entries


def check(entries: Entries) -> None:
    """Decodes what is pinned, under the limits of the log and of backups."""
    for name, entry in only(entries, BY_NAME).items():
        (data,) = from_hex(entry["hex"])
        for codec in (CommandCodec(version=NEWEST), CommandCodec(ARCHIVE_LIMITS, NEWEST)):
            same(name, codec.decode(data), BY_NAME[name])


SECTION = Section(
    "commands",
    f"cluster version {NEWEST}",
    make,
    check,
    TYPES,
    EXAMPLES,
    "add one to tests/golden/bytes/commands.py",
)
