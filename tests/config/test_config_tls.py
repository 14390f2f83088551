"""`tls` of a relationship: what is refused, what each server makes of it, what --check says of the files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from failoverd.compile import terms
from failoverd.config import ConfigError, parse_text
from failoverd.failover.terms import Tls
from failoverd.shell.main import main
from failoverd.shell.tls import identities
from tests.config.test_config_errors import GOOD
from tests.lab.certificates import Ca

PLAIN = 'mclt = "1h"\n'
TLS = 'tls = { cert-file = "FOLDER/{server}.pem", key-file = "FOLDER/{server}.key", ca-file = "FOLDER/ca.pem" }\n'
ISC = GOOD.replace('server = "two", address = "10.0.0.3"', 'kind = "isc-dhcpd", address = "10.0.0.3"')


def written(folder: str, good: str = GOOD) -> str:
    return good.replace(PLAIN, PLAIN + TLS.replace("FOLDER", folder))


def test_each_server_has_its_own_files_and_knows_the_partners_name() -> None:
    config = parse_text(written("/t"))
    assert terms(config, "one")["office"].tls == Tls("/t/one.pem", "/t/one.key", "/t/ca.pem", "one", "two")
    assert terms(config, "two")["office"].tls == Tls("/t/two.pem", "/t/two.key", "/t/ca.pem", "two", "one")
    named = written("/t").replace('address = "10.0.0.3"', 'address = "10.0.0.3", certificate-name = "b.example.test"')
    found = terms(parse_text(named), "one")["office"].tls
    assert found is not None
    assert found.partner_name.rstrip(".") == "b.example.test"
    assert terms(parse_text(GOOD), "one")["office"].tls is None


def test_paths_are_this_machines_but_tls_is_the_pairs() -> None:
    assert parse_text(written("/a")).digest() == parse_text(written("/b")).digest() != parse_text(GOOD).digest()


BAD = [
    (written("/t", ISC), "relationship[0].tls", "a dhcpd knows no TLS, and there is no way back to plaintext"),
    (
        GOOD.replace('address = "10.0.0.3"', 'address = "10.0.0.3", certificate-name = "b"'),
        "certificate-name",
        "there is no tls for it",
    ),
    (
        written("/t").replace('address = "10.0.0.3"', 'address = "10.0.0.3", certificate-name = "one"'),
        "certificate-name",
        "each server could pass for the other",
    ),
    (written("relative"), "cert-file", "relative"),
    (written("/t").replace('ca-file = "/t/ca.pem"', 'ca = "/t/ca.pem"'), "ca", "it has ca-file, cert-file, key-file"),
    (written("/t").replace(', ca-file = "/t/ca.pem"', ""), "ca-file", "missing"),
]


@pytest.mark.parametrize(("text", "key", "words"), BAD)
def test_what_cannot_be(text: str, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_text(text)
    assert any(words in problem.text and problem.key.endswith(key) for problem in error.value.problems), error.value.problems


def run(path: Path, *args: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["--config", str(path), *args])
    return result.exit_code, result.output


def test_check_tries_the_files_that_are_here(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text(written(str(tmp_path)))
    line = path.read_text().split("\n").index(TLS.replace("FOLDER", str(tmp_path)).rstrip()) + 1
    code, out = run(path, "--check")
    assert code == 0
    assert f"warning: {path}:{line}: relationship[0].tls.key-file: {tmp_path}/two.key is not on this machine" in out
    ca = Ca.make(tmp_path)
    ca.sign("one", tmp_path)
    os.chmod(tmp_path / "one.key", 0o644)
    for args in (("--check",), ("--server", "one")):
        code, out = run(path, *args)
        assert code == 1
        assert (
            f"{path}:{line}: relationship[0].tls.key-file: everybody on this machine can read or write {tmp_path}/one.key; chmod 640"
            in out
        )
    os.chmod(tmp_path / "one.key", 0o640)
    code, out = run(path, "--check", "--server", "one")
    assert (code, "tls" in out) == (0, False)
    ca.sign("printer", tmp_path, file="one")
    code, out = run(path, "--check")
    assert code == 1
    assert "relationship[0].tls.cert-file" in out
    assert "is for printer, and the partner expects one" in out


def test_a_start_without_the_files_is_refused_with_file_line_and_key(tmp_path: Path) -> None:
    config = parse_text(written(str(tmp_path)), "f.toml")
    with pytest.raises(ConfigError) as error:
        identities(config, "f.toml", terms(config, "one"))
    (problem,) = error.value.problems
    assert (problem.file, problem.key) == ("f.toml", "relationship[0].tls.cert-file")
    assert problem.line > 1
    assert "No such file" in problem.text
