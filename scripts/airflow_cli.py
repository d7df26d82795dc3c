"""`airflow …` for the Airflow of `make ui`, whose database is on the embedded PostgreSQL: starts that if need be."""

from __future__ import annotations

import os
import subprocess
import sys

from house import ROOT, find_home, keep_metadata_in, settle

if __name__ == "__main__":
    from importers.transport.embedded import start_postgres

    os.chdir(ROOT)
    home = find_home()
    settle(home / "ui")
    keep_metadata_in(start_postgres(home))
    # Not in this process's place: the server that it has started stops when it ends.
    sys.exit(subprocess.call([sys.executable, "-m", "airflow", *sys.argv[1:]]))
