import base64
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from importers.cli.main import main
from importers.exceptions import ConfigError
from importers.keys.keyring import Keyring
from importers.keys.root import root_keys

KEY = bytes(range(200, 232))  # its base64 has both + or - and / or _
OTHER = bytes(range(32))


def silent(message: str) -> None:
    pytest.fail(f"told {message}")


def roots(home: Path, **environ: str) -> list[bytes]:
    return root_keys(home, False, environ, silent)


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode().rstrip("="),
        KEY.hex(),
        KEY.hex().upper(),
        f"  {KEY.hex()}\n",
    ],
)
def test_all_spellings_of_a_key(tmp_path: Path, text: str) -> None:
    assert roots(tmp_path, ENCRYPTION_KEY=text) == [KEY]


@pytest.mark.parametrize("text", ["hunter2-hunter2", "ü" * 44, base64.b64encode(KEY[:31]).decode(), KEY.hex()[:-1]])
@pytest.mark.parametrize("variable", ["ENCRYPTION_KEY", "ENCRYPTION_KEY_PREVIOUS"])
def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path, text: str, variable: str) -> None:
    environ = {"ENCRYPTION_KEY": KEY.hex()} | {variable: text}
    with pytest.raises(ConfigError, match=rf"^{variable} isn't a key.*`importers keygen` prints") as error:
        roots(tmp_path, **environ)
    assert text not in str(error.value)
    assert error.value.__cause__ is None


def test_the_command_in_the_error_makes_a_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        roots(tmp_path)
    (command,) = re.findall(r"`importers (\w+)`", error.value.do)
    made = CliRunner().invoke(main, [command]).stdout
    assert len(roots(tmp_path, ENCRYPTION_KEY=made)[0]) == 32


@pytest.mark.parametrize("key", [bytes(32), b"changeme" * 4, b"0" * 32])
def test_a_placeholder_is_no_key(tmp_path: Path, key: bytes) -> None:
    with pytest.raises(ConfigError, match="isn't random"):
        roots(tmp_path, ENCRYPTION_KEY=base64.b64encode(key).decode())


def test_without_the_embedded_database_a_key_is_a_must(tmp_path: Path) -> None:
    for environ in ({}, {"ENCRYPTION_KEY": ""}, {"ENCRYPTION_KEY": " "}):
        with pytest.raises(ConfigError, match="ENCRYPTION_KEY isn't set"):
            Keyring.from_environment(tmp_path, embedded=False, environ=environ, tell=silent)
    assert list(tmp_path.iterdir()) == []


def test_previous_keys_come_after_the_one_in_force(tmp_path: Path) -> None:
    environ = {"ENCRYPTION_KEY": KEY.hex(), "ENCRYPTION_KEY_PREVIOUS": f"{OTHER.hex()}, {KEY.hex()},"}
    assert roots(tmp_path, **environ) == [KEY, OTHER]


def test_the_embedded_database_gets_a_key_once_and_says_so(tmp_path: Path) -> None:
    home, told = tmp_path / "not" / "there", []
    first = root_keys(home, True, {}, told.append)
    assert [str(home / "encryption.key") in message and "Back it up" in message for message in told] == [True]
    assert base64.b64encode(first[0]).decode() not in told[0]
    assert root_keys(home, True, {}, silent) == first
    assert (home / "encryption.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.iterdir()] == ["encryption.key"]


def test_two_homes_have_two_keys(tmp_path: Path) -> None:
    told: list[str] = []
    assert root_keys(tmp_path / "a", True, {}, told.append) != root_keys(tmp_path / "b", True, {}, told.append)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    assert root_keys(tmp_path, True, {"ENCRYPTION_KEY": KEY.hex()}, silent) == [KEY]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "encryption.key"
    path.write_text(KEY.hex())
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"got mode {mode:04o}. Chmod 600"):
        root_keys(tmp_path, True, {}, silent)


def test_a_broken_key_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "encryption.key"
    path.write_bytes(b"\xff\x00 torn")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="isn't a key"):
        root_keys(tmp_path, True, {}, silent)
    assert path.read_bytes() == b"\xff\x00 torn"


def test_many_at_once_end_with_one_key(tmp_path: Path) -> None:
    told: list[str] = []
    with ThreadPoolExecutor(16) as pool:
        for attempt in range(20):
            home = tmp_path / str(attempt)
            made = list(pool.map(lambda _, home=home: root_keys(home, True, {}, told.append)[0], range(16)))
            assert len(set(made)) == 1
            assert [path.name for path in home.iterdir()] == ["encryption.key"]
    assert len(told) == 20


def test_two_processes_at_once_end_with_one_key(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from importers.keys.keyring import Keyring;"
        "print(Keyring.from_environment(Path(sys.argv[1]), True, {}, tell=lambda _: None).fingerprint)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = {process.communicate()[0].strip() for process in running}
    assert said == {Keyring.from_environment(tmp_path, True, {}, tell=silent).fingerprint}
