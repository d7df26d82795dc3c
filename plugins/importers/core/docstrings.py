"""What stands below a model's fields in its source, as their descriptions.

Read when somebody asks for the JSON schema. Pydantic's own `use_attribute_docstrings` parses the source of every model
whenever it is imported, which took a sixth of the time in which a worker process starts.
"""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core import CoreSchema


class Described:
    """For a model whose fields' docstrings are to be their descriptions in its JSON schema: goes before BaseModel."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for model in cls.__mro__:
            if issubclass(model, Described) and issubclass(model, BaseModel):
                for name, text in docstrings(model).items():
                    properties[name].setdefault("description", text)
        return schema


def docstrings(model: type[BaseModel]) -> dict[str, str]:
    """By field of the model's own."""
    (written,) = ast.parse(dedent(inspect.getsource(model))).body
    found = {}
    for field, below in pairwise(getattr(written, "body", [])):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as text)):
                found[name] = inspect.cleandoc(text)
    return {name: text for name, text in found.items() if name in model.model_fields}
