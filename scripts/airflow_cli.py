"""`airflow …` for the Airflow of `make ui`, wherever it keeps its database."""

from __future__ import annotations

import os
import sys

from house import ROOT, find_home, settle

if __name__ == "__main__":
    os.chdir(ROOT)
    settle(find_home() / "ui")
    os.execv(sys.executable, [sys.executable, "-m", "airflow", *sys.argv[1:]])
