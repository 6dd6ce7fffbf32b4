"""Reads the file: from TOML to a `Config`, with a sentence for every mistake in it."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from daemon.config.sections import Config, sections, toml_key

CONFIG_BYTES_MAX: Final = 1024 * 1024
SECRET_CREDENTIAL: Final = "secret_key"  # noqa: S105 -- the name of a credential, not one


class ConfigError(Exception):
    """The configuration can't be used; the message is for the operator, one sentence per line."""


def load(path: str | Path, environment: Mapping[str, str] | None = None) -> Config:
    """Reads, checks and resolves a configuration file. `ConfigError` names everything that is wrong with it.

    Under systemd, a credential named ``secret_key`` (``LoadCredential=``) replaces security.secret_key.
    """
    path = Path(path)
    environment = os.environ if environment is None else environment
    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(text) > CONFIG_BYTES_MAX:
        raise ConfigError(f"{path}: is larger than {CONFIG_BYTES_MAX} bytes, the limit for a configuration")
    try:
        raw = tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    return _resolved(parse(raw, str(path)), path.absolute().parent, environment)


def parse(raw: Mapping[str, Any], file: str) -> Config:
    """Returns a configuration from parsed TOML, with paths unchanged."""
    complaints = list(_unknown_keys(raw))
    if not complaints:
        named = {
            section: {_field_name(section, key): value for key, value in values.items()}
            for section, values in raw.items()
        }
        try:
            # Through JSON: its strict rules accept a list for a tuple and text for a path, and nothing else.
            return Config.model_validate_json(json.dumps(named, default=str))
        except ValidationError as error:
            complaints = [_sentence(found) for found in error.errors(include_url=False)]
    raise ConfigError("\n".join(f"{file}: {complaint}" for complaint in complaints))


def _field_name(section: str, key: str) -> str:
    return f"{key}_ns" if f"{key}_ns" in sections()[section].model_fields else key


def _unknown_keys(raw: Mapping[str, Any]) -> list[str]:
    known = {name: [toml_key(field) for field in model.model_fields] for name, model in sections().items()}
    dotted = [f"{section}.{key}" for section, keys in known.items() for key in keys]
    complaints: list[str] = []
    for section, values in raw.items():
        if section not in known:
            homes = [full for full in dotted if full.endswith(f".{section}")]
            hint = f"; it belongs in [{homes[0].split('.')[0]}]" if homes else _nearest(section, list(known))
            complaints.append(f"{section}: there is no such {'section' if isinstance(values, dict) else 'key'}{hint}")
        elif not isinstance(values, dict):
            complaints.append(f"{section}: is a section: write [{section}] and its keys below")
        else:
            for key in values:
                if key in known[section]:
                    continue
                homes = [full for full in dotted if full.endswith(f".{key}")]
                hint = f"; did you mean '{homes[0]}'?" if homes else _nearest(key, known[section])
                complaints.append(f"{section}.{key}: there is no such key{hint}")
    return complaints


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(known)}"


def _sentence(error: Any) -> str:
    """Returns one of pydantic's findings in our words."""
    keys = [toml_key(part) if isinstance(part, str) else f"[{part}]" for part in error["loc"]]
    key = ".".join(keys).replace(".[", "[")
    message: str = error["msg"]
    message = message.removeprefix("Value error, ").replace("Input should be", "should be")
    if error["type"] == "greater_than" and error["ctx"].get("gt") == 0:
        message = "should be greater than 0"
    given = error["input"]
    shown = "" if isinstance(given, (dict, BaseModel)) else f", not {json.dumps(given, default=str)[:80]}"
    return f"{key}: {message}{shown}" if key else message


def _resolved(config: Config, folder: Path, environment: Mapping[str, str]) -> Config:
    security = config.security
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    secret = folder / security.secret_key if security.secret_key else None
    if credentials and (Path(credentials) / SECRET_CREDENTIAL).exists():
        secret = Path(credentials) / SECRET_CREDENTIAL
    allowed = folder / security.allowed_keys if security.allowed_keys else None
    return config.model_copy(
        update={
            "cluster": config.cluster.model_copy(update={"data": folder / config.cluster.data}),
            "admin": config.admin.model_copy(update={"socket": folder / config.admin.socket}),
            "security": security.model_copy(update={"secret_key": secret, "allowed_keys": allowed}),
        }
    )
