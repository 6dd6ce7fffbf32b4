"""The configuration of a daemon: one TOML file, checked whole before anything starts.

    values      what a setting can be: a duration, a size, an address, a name
    sections    one frozen model a section of the file, and `Config`, which is all of them
    reading     from the file to a `Config`, or to a sentence for each mistake (`load`)

In the file a duration is a string with its unit (``probe_timeout = "500ms"``); here it is an int of nanoseconds under
the same name with ``_ns`` behind it (`config.membership.probe_timeout_ns`). Sizes are strings with a unit in the file
and ints of bytes here. Relative paths count from the file's own folder.

A mistake gets a sentence that names the file, the key, what is wrong and, for a key that does not exist, the nearest
that does. Every setting with its default and its reason is in ``config.example.toml``; a test holds the two together.

Code may build a `Config` directly, with the names used here: ``Membership(probe_interval_ns=200_000_000)``.
"""

from daemon.config.reading import ConfigError, load, parse
from daemon.config.sections import (
    Config,
    Consensus,
    Listen,
    Membership,
    ProgramsSection,
    Security,
    Ticks,
    sections,
    toml_key,
)
from daemon.config.values import Seed

__all__ = [
    "Config",
    "ConfigError",
    "Consensus",
    "Listen",
    "Membership",
    "ProgramsSection",
    "Security",
    "Seed",
    "Ticks",
    "load",
    "parse",
    "sections",
    "toml_key",
]
