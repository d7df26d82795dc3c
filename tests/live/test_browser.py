"""`make ui` as a newcomer meets it: in a browser, by clicking.

What the pages must say is counted by the generator of the sample, not by the import.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).parents[2]
DAG = "synthetic_radio.listening"
ROWS = 100_000
PATIENT = 480  # seconds, on a machine that does other things too; a quiet one needs 40
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)

pytestmark = pytest.mark.skipif(not shutil.which("chromedriver"), reason="chromium and chromium-driver are missing")


class Ui:
    """`make ui`'s program, with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "said.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "scripts/ui.py"],
                cwd=ROOT,
                env={**os.environ, "IMPORTERS_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def address(self) -> str:
        """Once it says that it is ready."""
        deadline = time.monotonic() + PATIENT
        while "Ready after" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.2)
        return self.said.split("Ready after")[1].split()[2]

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(300)

    def left(self) -> list[psutil.Process]:
        """Processes that have its home in their environment or their arguments."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if str(self.home) in " ".join(process.cmdline()) + process.environ().get("IMPORTERS_HOME", ""):
                    found.append(process)
        return found


@pytest.fixture(scope="module")
def ui() -> Iterator[Ui]:
    home = Path(tempfile.mkdtemp(prefix="importers-ui-"))
    home.chmod(0o755)  # as root, the embedded PostgreSQL runs as a user of its own
    ui = Ui(home)
    try:
        yield ui
    finally:
        ui.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            ui.process.wait(60)
        for process in ui.left():
            with suppress(psutil.Error):
                process.kill()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def url(ui: Ui) -> str:
    return ui.address()


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, Service(shutil.which("chromedriver"))) as driver:
        yield driver


def wait(browser: webdriver.Chrome, probe: Callable[[webdriver.Chrome], Any]) -> Any:
    """The probe's answer as soon as it is true. A page that is being drawn anew is asked again."""
    ignored = (StaleElementReferenceException, WebDriverException)
    return WebDriverWait(browser, PATIENT, ignored_exceptions=ignored).until(probe)


def click(browser: webdriver.Chrome, css: str, text: str = "") -> None:
    def clicked(_: webdriver.Chrome) -> bool:
        found = [each for each in browser.find_elements(By.CSS_SELECTOR, css) if text in (each.text or "")]
        if found:
            found[-1].click()
        return bool(found)

    wait(browser, clicked)


def body(browser: webdriver.Chrome) -> str:
    return " ".join(browser.find_element(By.TAG_NAME, "body").text.split())


def runs(url: str) -> list[dict[str, Any]]:
    with urlopen(f"{url}/api/v2/dags/{DAG}/dagRuns", timeout=120) as answer:
        return json.load(answer)["dag_runs"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How many lines of the sample have each fault, as its generator counts them."""
    out = tmp_path_factory.mktemp("sample") / "again.csv"
    done = subprocess.run(
        [sys.executable, "-m", "bench.listening", str(out), "--rows", str(ROWS), "--faults"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout)


def test_from_the_list_of_dags_to_governed_rows(browser: webdriver.Chrome, url: str, planted: dict[str, int]) -> None:
    bad = sum(planted.values())
    browser.get(f"{url}/dags")
    wait(browser, lambda _: DAG in body(browser) and "classic_rock_fm.songs" in body(browser))
    click(browser, f'a[href$="/dags/{DAG}"]')
    wait(browser, lambda _: browser.find_elements(By.CSS_SELECTOR, 'button[aria-label="Dag Docs"]'))  # not the list's
    click(browser, 'button[aria-label="Trigger Dag"]')
    wait(browser, lambda _: "Single Run" in body(browser))
    click(browser, "[role=dialog] button", "Trigger")
    wait(browser, lambda _: runs(url))
    wait(browser, lambda _: runs(url)[0]["state"] in ("success", "failed"))
    assert [run["state"] for run in runs(url)] == ["success"]

    browser.get(f"{url}/dags/{DAG}")
    click(browser, 'button[aria-label="Dag Docs"]')
    wait(browser, lambda _: "account_id pseudonymise identifier?" in body(browser))
    before = set(browser.window_handles)
    click(browser, "[role=dialog] a", "Tables and runs")
    wait(browser, lambda _: set(browser.window_handles) - before)
    browser.switch_to.window((set(browser.window_handles) - before).pop())
    wait(browser, lambda _: f"{ROWS - bad:,} rows" in body(browser))
    counts = f"plays {ROWS:,} {ROWS - bad:,} {bad:,} "
    assert re.search(rf"\d+ committed (just now|\d+ minutes? ago) {counts}", body(browser))
    click(browser, "main a", "Quarantine")
    wait(browser, lambda _: f"expect_column_values_to_be_in_set(country) {planted['unknown_country']}" in body(browser))
    assert f"expect_column_values_to_not_be_null(track_id) {planted['no_track']}" in body(browser)
    assert f"{bad:,} rows" in body(browser)

    browser.get(f"{url}/importers/dags/{DAG}")
    click(browser, "main a", "Quality report")
    wait(browser, lambda _: f"kept out {bad:,} in quarantine" in body(browser))
    assert re.search(rf"to_be_in_set\(country\) value_set: .+? {planted['unknown_country']} of ", body(browser))


@pytest.mark.parametrize(("path", "says"), [(f"/dags/{DAG}/plugin/import_tables", DAG), ("/plugin/imports", "songs")])
def test_the_pages_stand_inside_airflows(browser: webdriver.Chrome, url: str, path: str, says: str) -> None:
    browser.get(f"{url}{path}")
    frame = wait(browser, lambda _: browser.find_element(By.CSS_SELECTOR, "iframe"))
    browser.switch_to.frame(frame)
    wait(browser, lambda _: says in body(browser))
    links = [link.get_attribute("href") for link in browser.find_elements(By.TAG_NAME, "a")]
    assert links
    assert all(f"{link}".startswith(f"{url}/importers/") for link in links)


@pytest.mark.parametrize("path", ["", f"dags/{DAG}", f"dags/{DAG}/quarantine", f"dags/{DAG}/report"])
def test_a_page_fits_a_phone_and_the_dark_and_asks_nobody_else(browser: webdriver.Chrome, url: str, path: str) -> None:
    phone = {"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    seen = set()
    for scheme in ("light", "dark"):
        wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
        browser.get(f"{url}/importers/{path}")
        seen.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= phone["width"]
    assert len(seen) == 2
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert {name.removeprefix(url) for name in asked} <= {"/importers/style.css", "/favicon.ico"}
    assert not [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]]


def test_a_second_one_finds_the_first(ui: Ui, url: str) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/ui.py"],
        cwd=ROOT,
        env={**os.environ, "IMPORTERS_HOME": str(ui.home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert f"It runs already: {url}" in done.stdout
    assert f"kill {ui.process.pid} " in done.stdout


def test_its_command_line_finds_its_database(ui: Ui, url: str) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/airflow_cli.py", "dags", "list-runs", DAG, "--output", "json"],
        cwd=ROOT,
        env={**os.environ, "IMPORTERS_HOME": str(ui.home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = [run["dag_run_id"] for run in runs(url)]
    assert made
    assert all(run in done.stdout for run in made)


def test_it_listens_on_loopback_only(url: str) -> None:
    """Whoever reaches it is an administrator."""
    port = int(url.rpartition(":")[2])
    mine = [each.address for card in psutil.net_if_addrs().values() for each in card if each.family == socket.AF_INET]
    reached = set()
    for address in mine:
        with socket.socket() as caller:
            caller.settimeout(5)
            if caller.connect_ex((address, port)) == 0:
                reached.add(address)
    assert len(mine) > 1, "this machine has no other address to try"
    assert reached == {"127.0.0.1"}


def test_ctrl_c_ends_all_of_it(ui: Ui, url: str) -> None:
    """The last test of this file: what a person does last."""
    assert len(ui.left()) > 4
    assert ui.interrupt() == 0
    assert "All of it has ended" in ui.said
    assert not ui.left()
