import subprocess
import sys
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from importers.core import tenant
from importers.core.docstrings import Described, docstrings


class Plain(Described, BaseModel):
    """Not a field's."""

    first: int
    """The first,
    in two lines."""
    second: str = ""
    third: Annotated[int, Field(description="said already")] = 3
    """Not what is said."""
    "nor this"

    def method(self) -> None:
        """Nor a field's."""


class Inherits(Plain):
    fourth: int
    """The fourth."""


def test_what_stands_below_a_field_is_its_description():
    assert docstrings(Plain) == {"first": "The first,\nin two lines.", "third": "Not what is said."}
    properties = Plain.model_json_schema()["properties"]
    assert {name: about.get("description") for name, about in properties.items()} == {
        "first": "The first,\nin two lines.",
        "second": None,
        "third": "said already",
    }
    assert Plain.model_json_schema()["description"] == "Not a field's."
    inherited = Inherits.model_json_schema()["properties"]
    assert inherited.pop("fourth")["description"] == "The fourth."
    assert inherited == properties


SCHEMA = tenant.Tenant.model_json_schema()


@pytest.mark.parametrize("name", ["Tenant", *SCHEMA["$defs"]])
def test_every_field_of_a_tenant_file_has_a_description(name):
    found = SCHEMA if name == "Tenant" else SCHEMA["$defs"][name]
    assert all(about.get("description") for about in found.get("properties", {}).values())


def test_a_worker_that_starts_imports_nothing_that_only_others_need():
    run = "import sys, importers.pipeline.run, importers.sources.files.csv, importers.destinations.postgresql\n"
    ask = "print(*({'stdnum', 'phonenumbers', 'alembic', 'sqlalchemy', 'great_expectations'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", run + ask], capture_output=True, text=True, check=True)
    assert not done.stdout.split()
