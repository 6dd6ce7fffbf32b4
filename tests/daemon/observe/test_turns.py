"""What holds up the control loop is seen, and what merely waits is not."""

from __future__ import annotations

import asyncio
import time

from daemon.observe.metrics import Metrics
from daemon.observe.turns import SLOW_SECONDS, TimedSelector, new_loop


def burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_a_turn_that_works_for_long_is_noted_and_one_that_waits_is_not() -> None:
    selector = TimedSelector()

    async def work() -> None:
        await asyncio.sleep(4 * SLOW_SECONDS)
        time.sleep(4 * SLOW_SECONDS)  # as if the machine had been busy with something else
        await asyncio.sleep(0)
        assert not selector.slow
        burn(4 * SLOW_SECONDS)
        await asyncio.sleep(0)
        for _ in range(5):  # ready at once: one turn
            asyncio.get_running_loop().call_soon(burn, SLOW_SECONDS)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=lambda: new_loop(selector)) as runner:
        runner.run(work())
    assert len(selector.slow) == 2
    assert min(selector.slow) >= 4 * SLOW_SECONDS


def test_they_are_in_the_metrics_once() -> None:
    metrics, selector = Metrics(), TimedSelector()
    selector.slow.extend([0.02, 0.3])
    metrics.turns(selector.slow)
    metrics.turns(selector.slow)
    text = metrics.render("shoal_slow_turn_seconds")
    assert 'shoal_slow_turn_seconds_bucket{le="0.25"} 1.0' in text
    assert "shoal_slow_turn_seconds_count 2.0" in text
