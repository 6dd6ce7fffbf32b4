"""All golden files of bytes."""

from __future__ import annotations

from typing import Final

from tests.golden.bytes import admin, archive, commands, control, graphs, keys, registry, states, store, ticks

SECTIONS: Final = tuple(
    module.SECTION for module in (control, ticks, commands, registry, store, archive, states, graphs, admin, keys)
)
