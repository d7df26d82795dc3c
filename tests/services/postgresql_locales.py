"""A PostgreSQL whose databases sort text by a locale: the one that IMPORTERS_TEST_POSTGRESQL names, else Debian's.

`apt-get install postgresql locales`. The embedded server knows the order of bytes alone: it is built without ICU, and
finds no locales of the system. A server that is named needs ICU, the locales en_US.UTF-8 and en_US.ISO-8859-1,
`wal_level=logical` and a superuser in its address.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg

from tests.services.postgresql import in_memory

READY = 180.0  # seconds
LOCALES = {"en_US.UTF-8": "UTF-8", "en_US.ISO-8859-1": "ISO-8859-1"}
KINDS = {
    "glibc": "encoding 'UTF8' lc_collate 'en_US.UTF-8' lc_ctype 'en_US.UTF-8'",
    "icu": "encoding 'UTF8' locale_provider icu icu_locale 'en-US' locale 'en_US.UTF-8'",
    "latin1": "encoding 'LATIN1' lc_collate 'en_US.ISO-8859-1' lc_ctype 'en_US.ISO-8859-1'",
}
"""How a database is made that sorts by the system's library, by ICU, or also has another encoding."""
_numbers = itertools.count()


@contextmanager
def database_of(server: str, kind: str) -> Iterator[str]:
    """The URL of an empty database; afterwards its replication slots are gone, too."""
    name = f"importers_{kind}_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name} template template0 {KINDS[kind]}")  # type: ignore[arg-type]
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        slots = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = %s"
        connection.execute(slots, (name,))
        connection.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


@contextmanager
def postgresql_with_locales() -> Iterator[str]:
    """The address of a running server. Raises RuntimeError where Debian's packages are missing."""
    given = os.environ.get("IMPORTERS_TEST_POSTGRESQL")
    if given:
        yield given
        return
    programs, started = _programs(), time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="importers-locales-", dir=in_memory()))
    owner = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    try:
        for name, encoding in LOCALES.items():
            subprocess.run(["localedef", "-i", "en_US", "-f", encoding, home / name], check=True, capture_output=True)
        if owner:
            shutil.chown(home, owner)
        environment = {"PATH": os.environ["PATH"], "LOCPATH": str(home)}
        made = [programs / "initdb", "-D", home / "data", "-U", "postgres", "-A", "trust", "--no-sync", "--locale", "C"]
        subprocess.run(made, check=True, capture_output=True, user=owner, env=environment)
        settings = {"listen_addresses": "", "unix_socket_directories": home, "wal_level": "logical", "fsync": "off"}
        words = [word for name, said in settings.items() for word in ("-c", f"{name}={said}")]
        with (home / "log").open("wb") as log:
            command = [programs / "postgres", "-D", home / "data", *words]
            server = subprocess.Popen(command, stdout=log, stderr=log, user=owner, env=environment)
        try:
            url = f"postgresql://postgres@/postgres?host={quote(str(home), safe='')}"
            _wait(server, url, home / "log")
            print(f"PostgreSQL took {time.monotonic() - started:.1f} s to start")
            yield url
        finally:
            server.terminate()
            server.wait(60)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _programs() -> Path:
    """Debian keeps them by version, beside PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found or not shutil.which("localedef") or not Path("/usr/share/i18n/locales/en_US").exists():
        raise RuntimeError(
            "there is no PostgreSQL with locales: apt-get install postgresql locales, or set IMPORTERS_TEST_POSTGRESQL"
        )
    return found[-1].parent


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline and server.poll() is None:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"PostgreSQL didn't start; exit code {server.poll()}: {log.read_text()[-4000:]}")
