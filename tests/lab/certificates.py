"""A CA and certificates for tests, made as docs/tls.md says: openssl, and nothing else."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from failoverd.failover.terms import Tls

DAYS = 30


def openssl(*args: str) -> None:
    """Run openssl; what it says goes into the error."""
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise AssertionError(f"openssl {' '.join(args)}: {done.stderr.strip()[-400:]}")


@dataclass(slots=True, frozen=True)
class Ca:
    """A CA in a folder: ca.pem and ca.key."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, name: str = "failover CA") -> Ca:
        """A new one."""
        folder.mkdir(parents=True, exist_ok=True)
        key, cert = str(folder / "ca.key"), str(folder / "ca.pem")
        new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "3650")
        openssl(*new, "-subj", f"/CN={name}", "-keyout", key, "-out", cert)
        return cls(folder)

    @property
    def cert(self) -> Path:
        """Its certificate."""
        return self.folder / "ca.pem"

    def sign(self, name: str, folder: Path, *, days: int = DAYS, file: str = "") -> tuple[Path, Path]:
        """A certificate for the DNS name and its key: NAME.pem, NAME.key. `days` below 0: it has expired."""
        folder.mkdir(parents=True, exist_ok=True)
        cert, key, request = (folder / f"{file or name}.{end}" for end in ("pem", "key", "csr"))
        new = ("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
        openssl(*new, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(request))
        if days >= 0:
            by = ("-CA", str(self.cert), "-CAkey", str(self.folder / "ca.key"), "-days", str(days))
            openssl("x509", "-req", "-in", str(request), *by, "-copy_extensions", "copy", "-out", str(cert))
        else:
            self._sign_for_the_past(request, cert)
        request.unlink()
        key.chmod(0o600)
        return cert, key

    def _sign_for_the_past(self, request: Path, cert: Path) -> None:
        """Only `openssl ca` takes dates of its own."""
        index = self.folder / "index.txt"
        index.write_text("")
        (self.folder / "serial").write_text("1000\n")
        conf = self.folder / "ca.cnf"
        conf.write_text(
            f"[ca]\ndefault_ca = here\n[here]\ndatabase = {index}\nserial = {self.folder}/serial\nnew_certs_dir = {self.folder}\n"
            "default_md = sha256\npolicy = any\ncopy_extensions = copy\nunique_subject = no\n[any]\ncommonName = supplied\n"
        )
        by = ("-cert", str(self.cert), "-keyfile", str(self.folder / "ca.key"), "-in", str(request), "-out", str(cert), "-notext")
        openssl("ca", "-batch", "-config", str(conf), *by, "-startdate", "20200101000000Z", "-enddate", "20200201000000Z")

    def tls(self, name: str, partner: str, folder: Path, days: int = DAYS) -> Tls:
        """What a relationship says: a new certificate for `name`, the partner's name."""
        cert, key = self.sign(name, folder, days=days)
        return Tls(str(cert), str(key), str(self.cert), name, partner)
