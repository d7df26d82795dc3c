"""A system as its OpenAPI file has it: it refuses what the file doesn't allow, and answers with the file's examples.

How we read the file isn't its own judge: openapi-core reads it too, and looks at each call and at each answer.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from jsonschema import Draft4Validator
from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

from .loopback import Asked, Reply

DEEPEST = 12  # objects within objects
SIMPLE = {"string": "text", "integer": 7, "number": 0.5, "boolean": True}


class OpenApi:
    """OpenAPI 3.0. `wrong` tells each call that the file doesn't allow; those are answered with 400."""

    def __init__(self, file: Path) -> None:
        self._file = yaml.load(file.read_text(), yaml.CSafeLoader)
        self._paths = [
            (re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)), said) for path, said in self._file["paths"].items()
        ]
        self._server = urlsplit(self._file["servers"][0]["url"])
        plain = json.dumps(self._file, default=str)  # YAML makes dates of some examples
        read = json.loads(plain, object_hook=_without_discriminator)
        self._judge: Any = OpenAPI.from_dict(read, config=Config(spec_validator_cls=None))
        self.wrong: list[str] = []

    def __call__(self, asked: Asked) -> Reply:
        operation = self._operation(asked)
        faults = self._faults(asked, operation) if operation else [f"there is no {asked.method} {asked.path}"]
        faults += self.judged(asked)
        if operation is None or faults:
            self.wrong += faults
            return Reply({"error": {"status": 400, "message": "not as the file says"}}, 400)
        answer = self._resolved(operation["responses"]["200"])
        body = _counted(self.example(answer["content"]["application/json"]["schema"]))
        encoded = json.dumps(body, default=str).encode()
        self.wrong += self.judged(asked, encoded)
        return Reply(encoded)

    def judged(self, asked: Asked, answer: bytes | None = None) -> list[str]:
        """What openapi-core has against a call, or against its answer. It minds no parameter that the file hasn't."""
        host, path = f"{self._server.scheme}://{self._server.netloc}", self._server.path + asked.path
        call = MockRequest(host, asked.method.lower(), path, args=asked.query, headers=dict(asked.headers))
        try:
            if answer is None:
                self._judge.validate_request(call)
            else:
                self._judge.validate_response(call, MockResponse(answer, content_type="application/json"))
        except OpenAPIError as error:
            return [f"{asked.path}: {error}: {error.__cause__}"]
        return []

    def _operation(self, asked: Asked) -> Any:
        """A path without a parameter goes before one with (OpenAPI 3.0.3, 4.7.8.1)."""
        found = [said for path, said in self._paths if path.fullmatch(asked.path) and asked.method.lower() in said]
        literal = self._file["paths"].get(asked.path, {})
        said = literal if asked.method.lower() in literal else next(iter(found), None)
        return said and said[asked.method.lower()]

    def _faults(self, asked: Asked, operation: Any) -> list[str]:
        parameters = [self._resolved(one) for one in operation.get("parameters", ())]
        known = {one["name"]: one for one in parameters if one["in"] == "query"}
        faults = [f"{asked.path} has no parameter {name}" for name in asked.query if name not in known]
        faults += [
            f"{asked.path} needs {name}"
            for name, one in known.items()
            if one.get("required") and name not in asked.query
        ]
        for name, value in asked.query.items():
            schema = self._resolved(known.get(name, {}).get("schema", {}))
            typed = int(value) if schema.get("type") == "integer" else value
            typed = value.split(",") if schema.get("type") == "array" else typed
            faults += [f"{asked.path}: {name}: {error.message}" for error in Draft4Validator(schema).iter_errors(typed)]
        if not asked.headers.get("authorization", "").startswith("Bearer "):
            faults.append(f"{asked.path} was asked by nobody")
        return faults

    def example(self, schema: Any, depth: int = 0) -> Any:
        """A value of the schema with everything that it may have: the file's example where there is one."""
        schema = self._resolved(schema)
        for name in ("example", "default"):
            if name in schema:
                return deepcopy(schema[name])
        if "enum" in schema:
            return schema["enum"][0]
        if depth > DEEPEST:
            return None
        if "oneOf" in schema or "anyOf" in schema:
            return self.example((schema.get("oneOf") or schema["anyOf"])[0], depth + 1)
        if "allOf" in schema or "properties" in schema:
            parts = [self.example(part, depth) for part in schema.get("allOf", ())]
            own = {name: self.example(part, depth + 1) for name, part in schema.get("properties", {}).items()}
            return {name: value for part in [*parts, own] for name, value in part.items()}
        if schema.get("type") == "array":
            return [self.example(schema.get("items", {}), depth + 1)]
        if schema.get("format") == "date-time":
            return "2026-01-31T12:00:00Z"
        return SIMPLE.get(schema.get("type", ""), {})

    def _resolved(self, said: Any) -> Any:
        while "$ref" in said:
            found = self._file
            for name in said["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            said = found
        return said


def _without_discriminator(said: dict[str, Any]) -> dict[str, Any]:
    """Spotify's file has some whose values are no names of schemas, nor mapped to any."""
    return {name: value for name, value in said.items() if name != "discriminator" or "mapping" in value}


def _counted(body: Any) -> Any:
    """What the examples say of a list's length and of what comes after it isn't so of the list beside them.

    Where a list goes on by a cursor, nothing may be null: at its end there is none.
    """
    if isinstance(body, dict):
        if isinstance(body.get("items"), list):
            body["total"] = len(body["items"])
            if body.pop("cursors", None) is None:
                body["next"] = None
            else:
                body.pop("next", None)
        for value in body.values():
            _counted(value)
    return body
