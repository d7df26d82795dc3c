"""dlt beside us: the same file, loaded bare, by the way that its documentation calls the fastest.

It gets an environment of its own, from `dlt.txt`: `uv pip compile --generate-hashes --no-emit-index-url --no-header
--universal --python-version 3.11` of `dlt[postgres] pyarrow adbc-driver-manager adbc-driver-postgresql`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("dlt.txt")
LOAD = Path(__file__).with_name("dlt_load.py")
QUIET = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}


def environment() -> Path:
    """Made once for each content of the lock, outside the checkout; the interpreter in it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "importers-bench"
    directory = cache / f"dlt-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    python = directory / "bin" / "python"
    if not (directory / "whole").exists():
        uv = shutil.which("uv", path=f".tools/bin:{os.environ.get('PATH', '')}")
        if uv is None:
            raise SystemExit("uv is neither in .tools/bin nor on PATH: run make")
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, directory], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", LOCK], check=True)
        (directory / "whole").touch()
    return python


def load(python: Path, file: Path, url: str, home: Path) -> None:
    """Into the table `peer.plays`. Its state goes into `home`, so that each time is the first."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    said = kept | QUIET | {"HOME": str(home), "DLT_DATA_DIR": str(home / "dlt")}
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    url = url.replace("@/", "@localhost/")  # dlt wants a host; that of the query, the socket's directory, is the one
    subprocess.run([python, "-P", LOAD, file, url, home / "pipelines"], check=True, env=said, cwd=home)
