"""`failoverd --check`, reading files, the samples and the schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from failoverd.config import ConfigError, json_schema, load, main
from failoverd.shell import main as command


def check(path: str, server: str | None = None) -> int:
    """`failoverd --check` in this process: its exit code."""
    words = ["--check", "--config", path, *(["--server", server] if server else [])]
    try:
        command.main(words, standalone_mode=False)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"


@pytest.mark.parametrize("name", ["pair.toml", "isc-partner.toml"])
def test_the_samples_load_without_errors_or_warnings(name: str) -> None:
    config = load(str(SAMPLES / name))
    assert config.warnings == []
    assert len(config.digest()) == 64


def test_check_of_a_good_file(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(SAMPLES / "isc-partner.toml")
    assert check(path, "dhcp2") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{path}: good, digest {load(path).digest()}"]
    assert "error" not in err


def test_check_of_a_bad_file_prints_every_error_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f.toml"
    path.write_text("site = 1\nservers = 2\n")
    assert check(str(path)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(" ")[:2] for line in err.splitlines()] == [[f"{path}:1:", "site:"], [f"{path}:2:", "servers:"]]


def test_check_of_an_unknown_server(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(SAMPLES / "pair.toml")
    assert check(path, "dhcp3") == 1
    assert capsys.readouterr().err.splitlines()[-1] == "--server: there is no server 'dhcp3'; write one of dhcp1, dhcp2"


def test_check_looks_at_the_keys_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, path = tmp_path / "key", tmp_path / "f.toml"
    text = (SAMPLES / "pair.toml").read_text().replace("/etc/failoverd/ddns.key", str(key))
    path.write_text(text)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if each.startswith("key-file"))

    assert check(str(path)) == 0
    warning = (
        f"warning: {path}:{line}: ddns.zone[0].key-file: {key} is not on this machine; put the key there before failoverd starts"
    )
    assert warning in capsys.readouterr().err.splitlines()

    key.write_text('key "k" { algorithm hmac-sha256; secret "AAAA"; };\n')
    key.chmod(0o640)
    assert check(str(path)) == 0
    assert "warning" not in capsys.readouterr().err

    key.chmod(0o644)
    assert check(str(path)) == 1
    where = f"{path}:{line}: ddns.zone[0].key-file: "
    assert where + f"{key}: everybody can read or write it; chmod 0640, owner root, group failoverd" in capsys.readouterr().err

    key.chmod(0o600)
    key.write_text("")
    assert check(str(path)) == 1
    assert where + f"{key}: holds no key; expected key" in capsys.readouterr().err

    key.unlink()
    key.mkdir()
    assert check(str(path)) == 1
    assert where + f"{key}: Is a directory" in capsys.readouterr().err


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file or directory; name a readable file"):
        load(str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(str(tmp_path))
    path = tmp_path / "f.toml"
    path.write_bytes(b'site = "a"\n# \xff\n')
    with pytest.raises(ConfigError, match=r"f\.toml:2: is not UTF-8; save the file as UTF-8"):
        load(str(path))
    path.write_bytes(b"#" * ((16 << 20) + 1))
    with pytest.raises(ConfigError, match=r"is too large; 16 MiB at most"):
        load(str(path))


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_bytes(b'site = "a"\r\n\r\nsevers = 1\r\n')
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    assert (3, "severs") in [(problem.line, problem.key) for problem in caught.value.problems]
    path.write_bytes(b'\xef\xbb\xbfsite = "a"\n')
    with pytest.raises(ConfigError, match=r"f\.toml:1: begins with a byte order mark; save the file without it"):
        load(str(path))


def test_large_files_are_read_in_reasonable_time() -> None:
    lines = (SAMPLES / "isc-partner.toml").read_text()
    for number in range(1, 2000):
        lines += f'[[subnet]]\nsubnet = "10.{64 + number // 256}.{number % 256}.0/24"\n'
        lines += "".join(
            f'[[subnet.reservation]]\nclient-id = "01{at:04x}"\naddress = "10.{64 + number // 256}.{number % 256}.{at}"\n'
            for at in range(1, 6)
        )
    from failoverd.config import parse_text

    config = parse_text(lines)
    assert sum(len(subnet.reservations) for subnet in config.subnets) == 9995


# --- the schema ---


def test_the_schema_in_the_repository_is_current() -> None:
    """Write it with: python -m failoverd.config --schema schema/config.json"""
    assert json.loads((ROOT / "schema" / "config.json").read_text()) == json.loads(json.dumps(json_schema()))


def test_every_key_is_described() -> None:
    schema = json.loads(json.dumps(json_schema()))
    tables = [schema, *schema["$defs"].values()]
    bare = [
        f"{table['title']}.{key}" for table in tables for key, node in table["properties"].items() if not node.get("description")
    ]
    assert bare == []
    assert [table["title"] for table in tables if not table.get("description")] == []
    assert all(table["additionalProperties"] is False for table in tables)


def test_the_schema_knows_no_null() -> None:
    assert "null" not in json.dumps(json_schema())


def test_the_schema_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "schema.json"
    assert main(["--schema", str(path)]) == 0
    assert path.read_bytes() == (ROOT / "schema" / "config.json").read_bytes()
    assert main(["--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(path.read_text())
    assert main([]) == 2
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "failoverd.config", "--schema"], capture_output=True, text=True, env=env, check=True
    )
    assert done.stdout == path.read_text()
    assert done.stderr == ""


def test_static_key_files_are_looked_at_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, config = tmp_path / "admin.key", tmp_path / "failoverd.toml"
    key.write_text("x")
    key.chmod(0o644)
    text = (ROOT / "samples" / "pair.toml").read_text()
    config.write_text(text.replace('# static-key-file = "/etc/failoverd/admin.key"', f'static-key-file = "{key}"'))
    assert check(str(config)) == 1
    assert f"ddns.static-key-file: {key}: everybody can read or write it" in capsys.readouterr().err
