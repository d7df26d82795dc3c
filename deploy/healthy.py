"""Exit code 0 if Airflow's API server answers, and finds the part that is named: `healthy.py scheduler`.

Parts: scheduler, triggerer, dag_processor. `airflow jobs check` would import Airflow each time, for seconds. With
several of one part, this tells whether one of them is alive.
"""

import json
import os
import sys
from urllib.parse import urljoin
from urllib.request import urlopen

server = os.environ.get("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://127.0.0.1:8080/execution/")
with urlopen(urljoin(server, "/api/v2/monitor/health"), timeout=8) as answer:
    health = json.load(answer)
unwell = [part for part in ["metadatabase", *sys.argv[1:]] if health[part]["status"] != "healthy"]
if unwell:
    sys.exit(f"not healthy: {', '.join(unwell)}")
