"""The configuration of a daemon: one TOML file, checked completely before anything starts.

    values      the types of settings: a duration, a size, an address, a name
    sections    one frozen model per section of the file, and `Config`, which has all of them
    reading     from the file to a `Config`, or to a sentence for each mistake (`load`)

In the file a duration is a string with its unit (``probe_timeout = "500ms"``); here it is an int of nanoseconds under
the same name with the suffix ``_ns`` (`config.membership.probe_timeout_ns`). Sizes are strings with a unit in the file
and ints of bytes here. Relative paths start from the file's own folder.

Each mistake gets a sentence with the file, the key, what is wrong and, for an unknown key, the nearest known one.
``config.example.toml`` has every setting with its default and its reason; a test compares the two.

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
