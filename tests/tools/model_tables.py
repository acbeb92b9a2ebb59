"""Writes the constraint tables of hearth-front from the service models of the installed botocore.

    python tests/tools/model_tables.py            # rewrites crates/hearth-front/src/model/{microvms,connectors}.rs
    python tests/tools/model_tables.py --check    # exits 1 when a table differs from the model

Only what a server checks is taken over: names, places, required, min, max, pattern, enum, sensitive.
"""

import argparse
import pathlib
import re
import subprocess
import sys

import botocore.session

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL_DIR = ROOT / "crates/hearth-front/src/model"

TABLES = {
    "microvms.rs": ("lambda-microvms", lambda name: True),
    "connectors.rs": ("lambda-core", lambda name: "NetworkConnector" in name),
}

LOCATIONS = {"uri": "Path", "querystring": "Query"}


def constant(name):
    """MicrovmImageHooks -> MICROVM_IMAGE_HOOKS"""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).upper()


def literal(text):
    return f'r"{text}"' if "\\" in text else f'"{text}"'


def option(value):
    return "None" if value is None else f"Some({value})"


class Tables:
    """Collects the shapes that inputs reach, each once, innermost first."""

    def __init__(self, model):
        self.model = model
        self.raw = model._shape_resolver._shape_map  # noqa: SLF001: `union` and `sensitive` live here
        self.lines = []
        self.done = set()

    def shape(self, name):
        constant_name = constant(name)
        if constant_name in self.done:
            return constant_name
        raw = self.raw[name]
        value = getattr(self, raw["type"])(name, raw)
        self.done.add(constant_name)
        self.lines.append(f"static {constant_name}: Shape = {value};")
        return constant_name

    def string(self, name, raw):
        values = ", ".join(f'"{value}"' for value in raw.get("enum", []))
        pattern = raw.get("pattern")
        return (
            f"Shape::Text(Text {{ min: {option(raw.get('min'))}, max: {option(raw.get('max'))}, "
            f"pattern: {option(literal(pattern) if pattern else None)}, values: &[{values}], "
            f"sensitive: {str(bool(raw.get('sensitive'))).lower()} }})"
        )

    def integer(self, name, raw):
        return f"Shape::Integer(Range {{ min: {option(raw.get('min'))}, max: {option(raw.get('max'))} }})"

    long = integer

    def boolean(self, name, raw):
        return "Shape::Boolean"

    def list(self, name, raw):
        item = self.shape(raw["member"]["shape"])
        return f"Shape::List(List {{ min: {option(raw.get('min'))}, max: {option(raw.get('max'))}, item: &{item} }})"

    def map(self, name, raw):
        key, value = self.shape(raw["key"]["shape"]), self.shape(raw["value"]["shape"])
        return (
            f"Shape::Map(Map {{ min: {option(raw.get('min'))}, max: {option(raw.get('max'))}, "
            f"key: &{key}, value: &{value} }})"
        )

    def structure(self, name, raw):
        kind = "Union" if raw.get("union") else "Structure"
        return f'Shape::{kind}(Structure {{ name: "{name}", members: &[{self.members(raw)}] }})'

    def members(self, raw):
        required = set(raw.get("required", []))
        rows = []
        for name, member in raw["members"].items():
            location = LOCATIONS.get(member.get("location"), "Body")
            wire = member.get("locationName", name) if location == "Query" else name
            label = f'"{name}", "{wire}"' if location == "Query" else f'"{name}"'
            row = f"{location.lower()}({label}, &{self.shape(member['shape'])})"
            rows.append(row + (".required()" if name in required else ""))
        return ", ".join(rows)

    def operation(self, name):
        operation = self.model.operation_model(name)
        shape = operation.input_shape
        members = self.members(self.raw[shape.name]) if shape else ""
        http = operation.http
        return (
            f'Operation {{ name: "{name}", method: "{http["method"]}", path: "{http["requestUri"]}", '
            f"status: {http.get('responseCode', 200)}, input: &[{members}] }}"
        )


def render(service, wanted):
    model = botocore.session.get_session().get_service_model(service)
    tables = Tables(model)
    operations = [tables.operation(name) for name in model.operation_names if wanted(name)]
    text = (
        f"//! Constraints of the `{service}` operations, as its service model {model.api_version} states them.\n"
        "//!\n"
        "//! Written by `tests/tools/model_tables.py`; a test holds this file against the installed model.\n\n"
        "use super::{List, Map, Operation, Range, Shape, Structure, Text, body, path, query};\n\n"
        "/// Every operation, by name.\n"
        f"pub(crate) static OPERATIONS: &[Operation] = &[{', '.join(operations)}];\n\n" + "\n".join(tables.lines) + "\n"
    )
    for kind in ("List", "Map", "Range", "Structure", "Text"):
        if f"({kind} {{" not in text:
            text = re.sub(rf"(use super::{{[^}}]*?)\b{kind}\b,? ?", r"\1", text)
    return subprocess.run(
        ["rustfmt", "--edition", "2024", "--config", "max_width=100"], input=text, capture_output=True, text=True, check=True
    ).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    stale = []
    for file, (service, wanted) in TABLES.items():
        text = render(service, wanted)
        path = MODEL_DIR / file
        if check and path.read_text() != text:
            stale.append(file)
        elif not check:
            path.write_text(text)
    if stale:
        sys.exit(f"differs from the service model: {', '.join(stale)}")


if __name__ == "__main__":
    main()
