"""Generates the constraint tables of a service, which `check` compares requests with.

Only what a server checks is taken over: names, places, required, min, max, pattern, enum, sensitive.
"""

from model_names import constant

LOCATIONS = {"uri": "Path", "querystring": "Query", "header": "Header"}


def literal(text):
    return f'r"{text}"' if "\\" in text else f'"{text}"'


def option(value):
    return "None" if value is None else f"Some({value})"


def number(value):
    return "None" if value is None else f"Some({float(value)})"


class Tables:
    """Collects the shapes that inputs reach, each once, innermost first."""

    def __init__(self, service, model, raw):
        self.service = service
        self.model = model
        self.raw = raw
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
        values = ", ".join(f'"{value}"' for value in raw.get("enum", []) if name not in self.service.free_texts)
        pattern = raw.get("pattern") if self.service.has_pattern(name) else None
        return (
            f"Shape::Text(Text {{ min: {option(raw.get('min'))}, max: {option(raw.get('max'))}, "
            f"pattern: {option(literal(pattern) if pattern else None)}, values: &[{values}], "
            f"sensitive: {str(bool(raw.get('sensitive') or name in self.service.unrepeated)).lower()} }})"
        )

    def integer(self, name, raw):
        return f"Shape::Integer(Range {{ min: {option(raw.get('min'))}, max: {option(raw.get('max'))} }})"

    long = integer

    def double(self, name, raw):
        return f"Shape::Double(DoubleRange {{ min: {number(raw.get('min'))}, max: {number(raw.get('max'))} }})"

    float = double

    # No input that is read has one yet: `Shape` gets it with the first one.
    def timestamp(self, name, raw):
        return "Shape::Timestamp"

    def blob(self, name, raw):
        return "Shape::Blob"

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
        return f'Shape::{kind}(Structure {{ name: "{name}", members: &[{self.members(name, raw)}] }})'

    def members(self, shape, raw):
        required = set(raw.get("required", []))
        rows = []
        for name, member in raw["members"].items():
            if name in self.service.left_out.get(shape, ()):
                continue
            location = LOCATIONS.get(member.get("location"), "Body")
            wire = member.get("locationName", name)
            label = f'"{name}", "{wire}"' if location in ("Query", "Header") else f'"{name}"'
            row = f"{location.lower()}({label}, &{self.shape(member['shape'])})"
            rows.append(row + (".required()" if name in required else ""))
        return ", ".join(rows)

    def operation(self, name):
        operation = self.model.operation_model(name)
        shape = operation.input_shape
        members = self.members(shape.name, self.raw[shape.name]) if shape else ""
        http = operation.http
        return (
            f"/// `{name}`.\npub(super) static {constant(name)}: OperationModel = OperationModel {{ "
            f'name: "{name}", method: "{http["method"]}", path: "{http["requestUri"]}", '
            f"status: {self.service.statuses.get(name, http.get('responseCode', 200))}, input: &[{members}] }};"
        )

    def refused(self):
        """The addresses of the operations that are not answered."""
        rows = []
        for name in self.model.operation_names:
            if not self.service.wanted(name):
                http = self.model.operation_model(name).http
                rows.append(
                    f'OperationModel {{ name: "{name}", method: "{http["method"]}", path: "{http["requestUri"]}", '
                    f"status: {http.get('responseCode', 200)}, input: &[] }}"
                )
        doc = "/// The operations that Hearth does not answer, without their inputs.\n"
        return f"{doc}pub(super) static REFUSED: &[OperationModel] = &[{', '.join(rows)}];"


def render(service, model, raw):
    """The body of `constraints.rs`."""
    tables = Tables(service, model, raw)
    texts = [tables.operation(name) for name in service.operations(model)]
    texts += [tables.refused()] if service.is_refusing else []
    text = "\n\n".join([*texts, "\n".join(tables.lines)])
    kinds = [kind for kind in ("DoubleRange", "List", "Map", "Range", "Structure", "Text") if f"({kind} {{" in text]
    places = [place for place in ("body", "header", "path", "query") if f"{place}(" in text]
    shape = ["Shape"] if "Shape::" in text else []
    names = ", ".join(sorted([*kinds, "OperationModel", *shape]) + places)
    return f"use crate::model::{{{names}}};\n\n{text}\n"
