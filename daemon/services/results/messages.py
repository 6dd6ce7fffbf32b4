"""Messages between the result services of shards: which ticks can be read, rows, tables and searches."""

from __future__ import annotations

from daemon.control.leader.messages import RunStates
from shoal.api.struct import Count, Number, Struct, Tick
from shoal.lockstep.frames import Frames


class RowsRequest(Struct):
    """Asks for the values of these columns at the receiver's nodes, at a run's tick.

    Either those of ordinals from `first` to before `last`, or, for one column, the `top` most extreme.
    """

    request: str
    run: str
    tick: Tick
    columns: tuple[str, ...]
    first: Count
    last: Count
    top: Count
    least: bool


class RowsReply(Struct):
    """Frames: ordinals (int64), values of each column, then the ids' frames; `ids` is their spec, `total` the rows."""

    request: str
    error: str
    total: Count
    dtypes: tuple[str, ...]
    ids: bytes
    frames: Frames = ()


class KeptTicksRequest(Struct):
    """Asks at which ticks the receiver has states of this run."""

    request: str
    run: Count


class KeptTicksReply(Struct):
    """The ticks on the sender's disk, and the last tick that it knows to be committed."""

    request: str
    committed: Tick
    states: tuple[RunStates, ...]


class TableRequest(Struct):
    """Asks for rows of a table, from `first` on, in one of the receiver's partitions, at a run's tick."""

    request: str
    run: str
    tick: Tick
    table: str
    partition: Count
    first: Count


class TableReply(Struct):
    """Some rows: their number, the total, and in `specs` the columns' names and specs; the frames belong to these."""

    request: str
    error: str
    count: Count
    total: Count
    specs: bytes
    frames: Frames = ()


class SearchRequest(Struct):
    """Searches the receiver's documents of a load's graph, in the placement of this epoch.

    Without weights, asks how many of them contain each term; with weights, asks for the `top` best by these.
    """

    request: str
    epoch: Count
    load: str
    column: str
    terms: tuple[str, ...]
    weights: tuple[float, ...]
    top: Count


class SearchReply(Struct):
    """The sender's number of documents, and either how many contain each term, or the best.

    The frames belong to the best: ordinals, scores, and the ids' frames; `ids` is their spec, `total` their number.
    """

    request: str
    error: str
    documents: Count
    frequencies: tuple[Number, ...]
    total: Count
    ids: bytes
    frames: Frames = ()
