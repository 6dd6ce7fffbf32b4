"""A process that writes until it is killed, and says what has been acknowledged; and the same without being killed.

    writer.py FOLDER SEED COUNT

Each line it prints is one finished write, in words that `test_crashes` reads. It draws what to write from its seed, so
the reader can draw the same again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

from consensus.configuration import Configuration
from consensus.effects import Persist
from consensus.stored import Entry, HardState, Snapshot
from daemon.store import DataFolder, StateRecord, Store, StoreFailed

PARTITIONS = 3


def frames_of(seed: int, load: int, partition: int) -> list[bytes]:
    """The frames of a slice: small and large ones, up to more than one transaction holds."""
    random = Random(f"{seed} {load} {partition}")
    return [random.randbytes(size) for size in (10, 300_000, random.choice([1, 5_000_000]), 70_000)]


def state_of(seed: int, tick: int, partition: int) -> bytes:
    """A state."""
    return Random(f"{seed} state {tick} {partition}").randbytes(50_000)


def write(store: Store, seed: int, count: int, say: Callable[[str], None]) -> None:
    """Every kind of write, in turn, each said when it is done."""
    configuration = Configuration.of(["a"])
    store.persist(Persist(HardState(1), Snapshot(1, 1, configuration, (b"begun",))))
    for turn in range(1, count + 1):
        entries = (Entry(turn + 1, 1, Random(f"{seed} entry {turn}").randbytes(200)),)
        store.persist(Persist(HardState(turn + 1, "a"), None, None, entries))
        say(f"persist {turn}")
        states = {partition: state_of(seed, turn, partition) for partition in range(PARTITIONS)}
        store.put_states([StateRecord(1, turn, turn - 1, states)])
        say(f"states {turn}")
        if turn % 4 == 1:
            load = f"load-{turn}"
            store.put_graph(load, "graph", bytes([turn % 256]) * 100_000, b"header")
            say(f"graph {turn}")
            for partition in range(PARTITIONS):
                store.put_slice(load, partition, b"spec", frames_of(seed, turn, partition))
            store.seal(load, range(PARTITIONS))
            say(f"seal {turn}")
        if turn % 4 == 0:
            store.drop_load(f"load-{turn - 3}")
            say(f"drop {turn - 3}")


def main(path: str, seed: str, count: str) -> int:
    """Open, say so, write."""
    with DataFolder(Path(path), "demo", "a").open() as folder:
        store = Store(folder)
        print("open", flush=True)
        try:
            write(store, int(seed), int(count), lambda line: print(line, flush=True))
        except StoreFailed as failed:
            print(f"failed {failed}", flush=True)
            return 3
        finally:
            store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
