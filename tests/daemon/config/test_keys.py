from __future__ import annotations

import os
from pathlib import Path

import pytest
import zmq

from daemon.config.keys import AllowedKeys, BadKeyFile, generate, load_pair
from shoal.client.key_files import KEY_FILE_BYTES_MAX, member_key


def allowed(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_generated_pair_is_loaded_and_its_public_file_is_a_line_of_the_list(tmp_path: Path) -> None:
    pair = generate(tmp_path, "alpha")
    assert (tmp_path / "alpha.secret_key").stat().st_mode & 0o777 == 0o600
    assert load_pair(tmp_path / "alpha.secret_key") == pair
    assert pair.public == zmq.curve_public(pair.secret)
    keys = AllowedKeys(tmp_path / "alpha.public_key")
    assert pair.public in keys
    assert keys.key_of("alpha") == pair.public
    assert keys.name_of(pair.public) == "alpha"
    assert zmq.curve_keypair()[0] not in keys


def test_a_key_is_never_overwritten_nor_shown(tmp_path: Path) -> None:
    pair = generate(tmp_path, "alpha")
    with pytest.raises(BadKeyFile, match=r"alpha\.public_key exists"):
        generate(tmp_path, "alpha")
    (tmp_path / "alpha.public_key").unlink()
    with pytest.raises(BadKeyFile, match=r"alpha\.secret_key exists"):
        generate(tmp_path, "alpha")
    assert pair.secret.decode() not in repr(pair)


@pytest.mark.parametrize("name", ["", "../x", "a b", "#a", "x" * 64])
def test_a_name_is_a_plain_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadKeyFile, match="the name of a key"):
        generate(tmp_path, name)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_secret_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    generate(tmp_path, "alpha")
    path = tmp_path / "alpha.secret_key"
    path.chmod(mode)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        load_pair(path)


def test_a_credential_may_look_readable_by_a_group_but_not_by_all(tmp_path: Path) -> None:
    pair = generate(tmp_path, "alpha")
    path = tmp_path / "alpha.secret_key"
    path.chmod(0o440)
    assert load_pair(path, group_may_read=True) == pair
    path.chmod(0o444)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        load_pair(path, group_may_read=True)


def test_files_that_are_not_there_or_not_files(tmp_path: Path) -> None:
    with pytest.raises(BadKeyFile, match="No such file"):
        load_pair(tmp_path / "none")
    with pytest.raises(BadKeyFile, match="No such file"):
        AllowedKeys(tmp_path / "none")
    with pytest.raises(BadKeyFile, match="not a file"):
        load_pair(tmp_path)
    with pytest.raises(BadKeyFile, match="No such file"):
        generate(tmp_path / "none", "alpha")


def test_comments_begin_a_line_as_keys_may_hold_the_sign(tmp_path: Path) -> None:
    key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]#yf7"[:40]
    assert "#" in key
    keys = AllowedKeys(allowed(tmp_path / "keys", "# the cluster", "", "  # more", f"  alpha \t {key}  "))
    assert keys.names() == ("alpha",)
    assert keys.key_of("alpha") == key.encode()


@pytest.mark.parametrize(
    "line",
    ["alpha", "alpha short", "alpha " + "~" * 40, "al/pha " + "a" * 40, "a b c", "ä " + "a" * 40,
     f"alpha {'a' * 40} operator x"],
)  # fmt: skip
def test_a_bad_line_is_named_but_not_shown(tmp_path: Path, line: str) -> None:
    path = allowed(tmp_path / "keys", "# one", line)
    with pytest.raises(BadKeyFile, match=r"keys:2: expected NAME KEY, the key 40") as caught:
        AllowedKeys(path)
    assert line not in str(caught.value)


def test_names_and_keys_are_listed_once(tmp_path: Path) -> None:
    one, two = (zmq.curve_keypair()[0].decode() for _ in range(2))
    with pytest.raises(BadKeyFile, match=":2: alpha is listed twice"):
        AllowedKeys(allowed(tmp_path / "keys", f"alpha {one}", f"alpha {two}"))
    with pytest.raises(BadKeyFile, match=":2: beta has the key of alpha"):
        AllowedKeys(allowed(tmp_path / "keys", f"alpha {one}", f"beta {one}"))


def test_reload_takes_a_good_file_and_leaves_a_bad_one(tmp_path: Path) -> None:
    one, two, three = (zmq.curve_keypair()[0].decode() for _ in range(3))
    path = allowed(tmp_path / "keys", f"alpha {one}", f"beta {two}")
    keys = AllowedKeys(path)
    allowed(path, f"alpha {three}", f"gamma {two}")
    assert keys.reload() == (("alpha", "gamma"), ("beta",))
    assert one.encode() not in keys
    assert three.encode() in keys
    allowed(path, "alpha")
    with pytest.raises(BadKeyFile):
        keys.reload()
    assert len(keys) == 2
    assert keys.key_of("alpha") == three.encode()


def test_a_secret_file_holds_one_pair_and_no_file_is_huge(tmp_path: Path) -> None:
    path = allowed(tmp_path / "secret", "# nothing")
    path.chmod(0o600)
    with pytest.raises(BadKeyFile, match="it holds 0"):
        load_pair(path)
    path.write_bytes(b"#" * (KEY_FILE_BYTES_MAX + 1))
    with pytest.raises(BadKeyFile, match="larger than"):
        load_pair(path)


def test_an_operator_is_no_member_and_a_member_no_operator(tmp_path: Path) -> None:
    member, operator = (zmq.curve_keypair()[0] for _ in range(2))
    path = allowed(tmp_path / "keys", f"alpha {member.decode()}", f"carol {operator.decode()}  operator")
    keys = AllowedKeys(path)
    assert (keys.name_of(member), keys.operator_of(member)) == ("alpha", None)
    assert (keys.name_of(operator), keys.operator_of(operator)) == (None, "carol")
    assert (member in keys, operator in keys) == (True, False)
    assert (keys.key_of("alpha"), keys.key_of("carol"), keys.names()) == (member, None, ("alpha",))
    assert member_key(path, "alpha") == member
    with pytest.raises(BadKeyFile, match="no key of a member called 'carol'; it has: alpha"):
        member_key(path, "carol")


def test_a_generated_operator_has_the_line_to_paste(tmp_path: Path) -> None:
    pair = generate(tmp_path, "carol", operator=True)
    assert load_pair(tmp_path / "carol.secret_key") == pair
    assert AllowedKeys(tmp_path / "carol.public_key").operator_of(pair.public) == "carol"
    (tmp_path / "carol.public_key").chmod(0o600)
    with pytest.raises(BadKeyFile, match="it holds an operator's public key"):
        load_pair(tmp_path / "carol.public_key")


def test_a_role_that_is_none_is_named_but_not_shown(tmp_path: Path) -> None:
    path = allowed(tmp_path / "keys", "", f"carol {'a' * 40} oparator")
    with pytest.raises(BadKeyFile, match=r"keys:2: only the word operator may follow NAME KEY") as caught:
        AllowedKeys(path)
    assert "oparator" not in str(caught.value)


def test_names_and_keys_are_listed_once_whatever_their_role(tmp_path: Path) -> None:
    one, two = (zmq.curve_keypair()[0].decode() for _ in range(2))
    with pytest.raises(BadKeyFile, match=":2: alpha is listed twice"):
        AllowedKeys(allowed(tmp_path / "keys", f"alpha {one}", f"alpha {two} operator"))
    with pytest.raises(BadKeyFile, match=":2: carol has the key of alpha"):
        AllowedKeys(allowed(tmp_path / "keys", f"alpha {one}", f"carol {one} operator"))


def test_a_role_that_changes_counts_as_new(tmp_path: Path) -> None:
    one, two = (zmq.curve_keypair()[0] for _ in range(2))
    path = allowed(tmp_path / "keys", f"alpha {one.decode()}", f"carol {two.decode()} operator")
    keys = AllowedKeys(path)
    allowed(path, f"alpha {one.decode()}", f"carol {two.decode()}")
    assert keys.reload() == (("carol",), ())
    assert (keys.name_of(two), keys.operator_of(two)) == ("carol", None)
    allowed(path, f"alpha {one.decode()}")
    assert keys.reload() == ((), ("carol",))


def test_whoever_could_change_a_key_file_or_put_another_in_its_place_is_named(tmp_path: Path) -> None:
    home = tmp_path / "keys"
    home.mkdir(mode=0o700)
    generate(home, "alpha")
    secret, listed = home / "alpha.secret_key", home / "alpha.public_key"
    load_pair(secret)
    AllowedKeys(listed)
    for mode in (0o664, 0o646):
        listed.chmod(mode)
        with pytest.raises(BadKeyFile, match=r"can be written by others .*chmod go-w"):
            AllowedKeys(listed)
    listed.chmod(0o644)
    for mode in (0o770, 0o707, 0o722):
        home.chmod(mode)
        for read in (lambda: AllowedKeys(listed), lambda: load_pair(secret)):
            with pytest.raises(BadKeyFile, match="could put another file in its place"):
                read()
    home.chmod(0o1777)
    AllowedKeys(listed)
    home.chmod(0o755)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    listed.rename(tmp_path / "open" / "keys")
    listed.symlink_to(tmp_path / "open" / "keys")
    with pytest.raises(BadKeyFile, match="/open, where"):
        AllowedKeys(listed)
    with pytest.raises(BadKeyFile, match="is not a file"):
        AllowedKeys(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("whose", ["alpha.secret_key", "alpha.public_key", "."])
def test_a_key_file_of_another_user_is_refused(tmp_path: Path, whose: str) -> None:
    generate(tmp_path, "alpha")
    os.chown(tmp_path / whose, 12345, -1)
    read = AllowedKeys if whose == "alpha.public_key" else load_pair
    with pytest.raises(BadKeyFile, match="belongs to user 12345"):
        read(tmp_path / ("alpha.public_key" if read is AllowedKeys else "alpha.secret_key"))


def test_a_list_that_others_can_write_by_now_is_not_taken_over(tmp_path: Path) -> None:
    generate(tmp_path, "alpha")
    allowed = AllowedKeys(tmp_path / "alpha.public_key")
    (tmp_path / "alpha.public_key").chmod(0o666)
    with pytest.raises(BadKeyFile):
        allowed.reload()
    assert allowed.names() == ("alpha",)
