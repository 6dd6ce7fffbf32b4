"""A hostile member: sends well-formed messages of every class with extreme values, on both planes, with a valid key.

    python -m tests.cluster.hostile CONFIG ... --key FILE --known FILE --messages 50000 --rate 500 --seed 1

It distributes the messages to the daemons with these configurations. `--known` is what it knows of the cluster, as
JSON: epoch, generation, founding, texts, numbers. It is a separate process with a bounded rate, and prints when it
begins to send, and at the end how many messages of each plane it sent.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import zmq

from daemon.config import Config, load
from daemon.config.keys import AllowedKeys, KeyPair, load_pair
from daemon.vocabulary import CONTROL_TYPES, TICK_TYPES
from daemon.wire import Codec, Rejected
from tests.fuzz.extremes import Extremes, Known

POOL_MAX = 3000
"""How many different messages are made; they are sent repeatedly."""
LATE_SECONDS = 0.5
PLANES: Mapping[str, dict[int, type]] = {"control": CONTROL_TYPES, "ticks": TICK_TYPES}


def made(pair: KeyPair, cluster: str, known: Mapping[str, Any], count: int, seed: int) -> list[tuple[str, list[Any]]]:
    """Returns messages as frames, with their planes."""
    extremes = Extremes(seed, Known(known["texts"], known["numbers"], (pair.public, bytes(32))))
    codecs = {plane: Codec(cluster, types) for plane, types in PLANES.items()}
    classes = [(plane, cls) for plane, types in PLANES.items() for cls in types.values()]
    found: list[tuple[str, list[Any]]] = []
    for number in range(count):
        plane, cls = classes[number % len(classes)]
        message = extremes.message(cls)
        epoch = known["epoch"] + (0, 0, 0, 1, -1, 2**61)[number % 6]
        generation = known["generation"] + (0, 0, 0, 1, -1)[number % 5]
        founding = known["founding"] if number % 7 else ""
        if message is None:
            continue
        with contextlib.suppress(Rejected):
            found.append((plane, codecs[plane].encode(epoch, pair.name, generation, message, founding)))
    return found


def send(
    targets: Sequence[Config], pair: KeyPair, known: Mapping[str, Any], messages: int, rate: float, seed: int
) -> Counter[str]:
    """Sends all messages; returns how many of each plane."""
    pool = made(pair, targets[0].cluster.name, known, min(messages, POOL_MAX), seed)
    sent: Counter[str] = Counter()
    with zmq.Context() as context, contextlib.ExitStack() as stack:
        sockets = [_connected(context, target, pair, stack) for target in targets]
        print("speaking", flush=True)
        began = time.monotonic()
        for number in range(messages):
            plane, frames = pool[(number // len(targets)) % len(pool)]
            with contextlib.suppress(zmq.Again):
                sockets[number % len(targets)][plane].send_multipart(frames, zmq.NOBLOCK)
                sent[plane] += 1
            ahead = number / rate - (time.monotonic() - began)
            if ahead < -LATE_SECONDS:  # it was stopped for a while: does not catch up
                began -= ahead
            elif ahead > 0.005:
                time.sleep(ahead)
    return sent


def _connected(
    context: zmq.Context[zmq.Socket[bytes]], target: Config, pair: KeyPair, stack: contextlib.ExitStack
) -> dict[str, zmq.Socket[bytes]]:
    assert target.security.allowed_keys is not None
    theirs = AllowedKeys(target.security.allowed_keys).key_of(target.cluster.shard)
    sockets = {}
    for plane in PLANES:
        sockets[plane] = stack.enter_context(context.socket(zmq.PUSH))
        sockets[plane].linger, sockets[plane].sndhwm = 200, 100
        sockets[plane].curve_serverkey = theirs
        sockets[plane].curve_secretkey, sockets[plane].curve_publickey = pair.secret, pair.public
        sockets[plane].connect(getattr(target.listen, plane))
    return sockets


@contextlib.contextmanager
def speaking(
    configs: Sequence[Path], key: Path, known: Mapping[str, Any], *, messages: int, rate: float, seed: int = 1
) -> Iterator[subprocess.Popen[str]]:
    """Runs the hostile member in a separate process, which has begun to send; it has ended at the end of the block."""
    said = key.with_suffix(".known")
    said.write_text(json.dumps(known))
    words = ["--key", str(key), "--known", str(said), "--messages", str(messages), "--rate", str(rate)]
    command = [sys.executable, "-m", "tests.cluster.hostile", *map(str, configs), *words, "--seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "speaking\n"
            yield process
            told, _ = process.communicate(timeout=3 * messages / rate + 60)
            assert process.returncode == 0
            assert sum(json.loads(told).values()) > messages / 2
        finally:
            process.kill()


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("configs", type=Path, nargs="+")
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--known", type=Path, required=True)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    known = json.loads(options.known.read_text())
    targets, pair = [load(path, {}) for path in options.configs], load_pair(options.key)
    print(json.dumps(send(targets, pair, known, options.messages, options.rate, options.seed)))


if __name__ == "__main__":
    main()
