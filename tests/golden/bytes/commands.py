"""An example of every command of the log. Fields are given by name, so swapped fields are detected."""

from __future__ import annotations

from daemon.state import command_codec
from daemon.state import commands as log
from daemon.state.commands import to_bits
from daemon.state.dispatch import TABLES
from daemon.state.envelope import ARCHIVE_LIMITS, LogEntry
from daemon.wire.version import NEWEST
from tests.golden.bytes.older import forms
from tests.golden.bytes.section import Section, from_hex, named, only, packed, same
from tests.golden.golden_file import Entries

ALPHA = log.Identity(name="alpha", generation=3)
BETA = log.Identity(name="beta", generation=1_700_000_000_000_000_007)
HOLDING = log.Holding(load="load-1", partitions=to_bits({0, 9}))
GRAPH = log.AddGraph(
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
    program="rank",
    graph="web",
    load="load-1",
    params=(("damping", "0.85"), ("seed", "3")),
    ticks=50,
    interval_ns=1_000_000_000,
    paced=False,
    phases=0b1011,
    columns=("rank", "share"),
    checkpoint_ticks=5,
    digest="d1",
    runs_max=4,
    may_queue=True,
)
PACED = log.StartRun(
    program="rank",
    graph="web",
    load="load-1",
    params=(),
    ticks=51,
    interval_ns=0,
    paced=True,
    phases=0b1000,
    columns=(),
    checkpoint_ticks=-1,
)
EXAMPLES = (
    log.FormView(epoch=4, members=(ALPHA, BETA), virtual_nodes=150, replicas=2),
    GRAPH,
    log.DropGraph(name="web", load="load-1", by_force=True),
    START,
    PACED,
    log.StopRun(run="rank-7", by_force=True),
    log.EndRun(
        run="rank-7",
        outcome="failed",
        tick=30,
        failure="ZeroDivisionError",
        cross_bytes=4096,
        figures='{"total": 2.5}',
        result_bytes=8192,
    ),
    log.HoldParts(shard=BETA, holdings=(HOLDING,), is_whole=True, disk=41),
    log.DropParts(shard=BETA, holding=HOLDING),
    log.Drain(shard="beta", is_on=True),
    log.ResumeRun(
        run="rank-7",
        epoch=4,
        tick=30,
        sources=(log.StateSource(shard="beta", partitions=to_bits({1, 8})),),
        reached=31,
        origin=2,
    ),
    log.Restore(
        graphs=(GRAPH,),
        runs=(
            log.KeptRun(
                number=7,
                start=START,
                state="completed",
                tick=30,
                failure="none",
                cross_bytes=4096,
                started_unix_ns=1_700_000_000_000_000_012,
                ended_unix_ns=1_700_000_000_000_000_014,
                figures='{"total": 2.5}',
                result_bytes=8192,
            ),
        ),
        runs_begun=9,
        programs=(PROGRAM,),
    ),
    log.Settled(shard=BETA, epoch=4),
    log.AddProgram(version=PROGRAM),
    log.DropProgram(name="rank"),
    log.ExpireResults(runs=("rank-7", "rank-8")),
    log.RaiseVersion(version=4),
)
ENTRY = LogEntry(
    machine="cluster",
    shard="alpha",
    generation=3,
    sequence=9,
    answered=7,
    time_ns=1_700_000_000_000_000_015,
    command=b"a command",
)
TYPES = (*(kind for table in TABLES.values() for kind in table.values()), LogEntry)
FORMS = forms(named(example for example in EXAMPLES if type(example) in TYPES))


def make() -> Entries:
    """Encodes every command, whose bytes are the same in the log and in a backup's file, and an entry of the log."""
    entries = {}
    for name, (version, example) in FORMS.items():
        data = command_codec(version=version).encode(example)
        assert command_codec(ARCHIVE_LIMITS, version).encode(example) == data, name
        entries[name] = packed([data])
    return entries | {"an entry": packed([command_codec(version=NEWEST).seal(ENTRY)])}


def check(entries: Entries) -> None:
    """Decodes the pinned bytes, under the limits of the log and of backups."""
    (sealed,) = from_hex(entries["an entry"]["hex"])
    same("an entry", command_codec(version=NEWEST).open(sealed), ENTRY)
    commands = {name: entry for name, entry in entries.items() if name != "an entry"}
    for name, entry in only(commands, FORMS).items():
        (data,), example = from_hex(entry["hex"]), FORMS[name].example
        for codec in (command_codec(), command_codec(ARCHIVE_LIMITS)):
            same(name, codec.decode(codec.machine_of(example), data), example)


SECTION = Section(
    "commands",
    f"cluster version {NEWEST}",
    make,
    check,
    TYPES,
    (*EXAMPLES, ENTRY),
    "add one to tests/golden/bytes/commands.py",
)
