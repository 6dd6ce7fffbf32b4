"""Commands for the keys and the configuration of a daemon, before it starts."""

from __future__ import annotations

import json
from pathlib import Path

import click

from daemon.cli.session import CommandFailed, Session, json_option, words


@click.command()
@click.option(
    "--dir",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for the key files.",
)
@click.option("--name", required=True, help="The name of the shard or of the operator.")
@click.option("--operator", is_flag=True, help="Make an operator's key, for commands from another machine.")
@json_option
@click.pass_obj
def keygen(session: Session, folder: Path, name: str, operator: bool) -> None:
    """Make a key pair for a shard or an operator, and print its line for the list of allowed keys."""
    from daemon.config.keys import BadKeyFile, allowed_line, generate

    try:
        folder.mkdir(parents=True, exist_ok=True)
        pair = generate(folder, name, operator=operator)
    except (BadKeyFile, OSError, ValueError) as error:
        raise CommandFailed(str(error)) from error
    public = pair.public.decode("ascii")
    if session.as_json:
        told = {
            "name": pair.name,
            "public_key": public,
            "secret_key_file": str(folder / f"{name}.secret_key"),
            "allowed_keys_line": allowed_line(pair.name, pair.public, operator=operator),
        }
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(allowed_line(pair.name, pair.public, operator=operator))
    secret = folder / f"{name}.secret_key"
    words(f"The secret key is in {secret}: keep it on this machine.")
    if operator:
        words(
            "Once the daemons' allowed_keys contain this line and they have reloaded it: "
            f"shoalctl --connect SHARD@tcp://HOST:PORT --key {secret} --known-keys ALLOWED_KEYS status"
        )


@click.command("check-config")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
@click.pass_obj
def check_config(session: Session, file: Path) -> None:
    """Check a configuration file without starting anything."""
    from daemon.config import ConfigError, load

    try:
        config = load(file)
    except ConfigError as error:
        raise CommandFailed(str(error)) from error
    if session.as_json:
        click.echo(config.model_dump_json(indent=2))
        return
    security = config.security
    if security.encryption == "curve":
        for path in (security.secret_key, security.allowed_keys):
            if path is not None and not path.exists():
                words(f"warning: {path} does not exist (yet): the daemon will not start without it")
    if config.plain_text_exposed:
        words("warning: graph data crosses the network unencrypted (security.plain_text_accepted)")
    click.echo(
        f"{file}: valid; shard {config.cluster.shard} of cluster {config.cluster.name}, on {config.listen.control}"
    )
