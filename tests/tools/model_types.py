"""Generates the Rust types of a service: an input and an output for each operation, and the shapes that they reach."""

import re
import textwrap

from model_names import field, upper_camel, variant

# Greatest values of the unsigned types that a checked integer becomes.
PORT_MAX, U32_MAX = 2**16 - 1, 2**32 - 1

BOTH = {"input", "output"}


class Types:
    """Walks the operations of a service once to see who uses which shape, and then writes every shape that is used."""

    def __init__(self, service, model, raw):
        self.service = service
        self.raw = raw
        self.operations = [model.operation_model(name) for name in service.operations(model)]
        self.inputs = {f"{o.name}Input": o.input_shape.name for o in self.operations if o.input_shape}
        self.outputs = {f"{o.name}Output": o.output_shape.name for o in self.operations if self.has_output(o)}
        self.parts = {part: self.part_members(part, shapes) for part, shapes in service.parts.items()}
        self.refuse_bodies_that_are_no_json()
        self.used = {}
        for usage, shapes in (("input", self.inputs), ("output", self.outputs)):
            for shape in shapes.values():
                self.walk_members(shape, usage)

    def refuse_bodies_that_are_no_json(self):
        for operation in self.operations:
            for shape in (operation.input_shape, operation.output_shape):
                raw = self.raw[shape.name] if shape else {}
                left_out = self.left_out(shape.name) if shape else ()
                members = {name: member for name, member in raw.get("members", {}).items() if name not in left_out}
                places = {member.get("location") for member in members.values()}
                if "payload" in raw or (shape is operation.output_shape and places & {"header", "statusCode"}):
                    raise SystemExit(f"{operation.name} says more than one JSON object can: write it by hand, beside the trait")

    def has_output(self, operation):
        """Whether an answer has a body: one of whose shape everything is left out has none."""
        shape = operation.output_shape
        return shape is not None and (not shape.members or bool(set(shape.members) - set(self.left_out(shape.name))))

    # Who uses what.

    def walk(self, name, usage):
        raw = self.raw[name]
        if raw["type"] == "list":
            self.walk(raw["member"]["shape"], usage)
        elif raw["type"] == "map":
            self.walk(raw["value"]["shape"], usage)
        elif raw["type"] == "structure" or self.is_enumeration(name):
            uses = self.used.setdefault(name, set())
            if usage in uses:
                return
            uses.add(usage)
            if raw["type"] == "structure" and name not in self.service.never:
                self.walk_members(name, usage)

    def walk_members(self, name, usage):
        own, parts = self.split(name)
        for part in parts:
            self.used.setdefault(part, set()).add(usage)
        for member, shape in self.members(name).items():
            if member not in self.untyped(name):
                self.walk(shape, usage)

    # Members.

    def members(self, name):
        return {member: raw["shape"] for member, raw in self.raw[name]["members"].items()}

    def required(self, name):
        return set(self.raw[name].get("required", []))

    def left_out(self, name):
        return self.service.left_out.get(name, ())

    def untyped(self, name):
        """Members without a field."""
        return (*self.left_out(name), *self.service.unread.get(name, ()))

    def is_enumeration(self, name):
        return bool(self.raw[name].get("enum")) and name not in self.service.free_texts

    def field_type(self, name, member):
        rust = self.rust(self.members(name)[member])
        return rust if member in self.required(name) else f"Option<{rust}>"

    def part_members(self, part, shapes):
        """What the shapes have in common; the part itself, when it is a shape of the model."""
        shapes = [part, *shapes] if part in self.raw else shapes
        first, *others = shapes
        common = {
            member: self.field_type(first, member)
            for member in self.members(first)
            if all(
                member in self.members(other) and self.field_type(other, member) == self.field_type(first, member)
                for other in others
            )
        }
        if part in self.raw and set(common) != set(self.members(part)):
            raise SystemExit(f"{part} is no longer a part of {', '.join(others)}: change PARTS")
        return common

    def split(self, name):
        """Own members of a structure with their types, and its parts."""
        parts = [part for part, shapes in self.service.parts.items() if name in shapes]
        in_parts = {member for part in parts for member in self.parts[part]}
        own = {
            member: self.field_type(name, member)
            for member in self.members(name)
            if member not in in_parts and member not in self.untyped(name)
        }
        return own, parts

    # Rust.

    def rust(self, name):
        raw = self.raw[name]
        return getattr(self, f"rust_{raw['type']}")(name, raw)

    def rust_string(self, name, raw):
        if self.is_enumeration(name):
            return upper_camel(name)
        return "Sensitive" if raw.get("sensitive") else "String"

    def rust_integer(self, name, raw):
        low, high = raw.get("min"), raw.get("max")
        if not self.service.is_unsigned or low is None or low < 0:
            return "i64"
        if high == PORT_MAX:
            return "u16"
        return "u32" if high is not None and high <= U32_MAX else "u64"

    rust_long = rust_integer

    def rust_boolean(self, name, raw):
        return "bool"

    def rust_double(self, name, raw):
        return "f64"

    rust_float = rust_double

    def rust_blob(self, name, raw):
        return "Blob"

    def rust_timestamp(self, name, raw):
        if raw.get("timestampFormat", self.service.time_format) != "iso8601":
            return "EpochSeconds"
        return "IsoSeconds" if self.is_xml() else "IsoMillis"

    def rust_list(self, name, raw):
        return f"Vec<{self.rust(raw['member']['shape'])}>"

    def rust_map(self, name, raw):
        return f"BTreeMap<String, {self.rust(raw['value']['shape'])}>"

    def rust_structure(self, name, raw):
        return upper_camel(name)

    def structure(self, rust_name, doc, own, parts, usage):
        if self.is_xml() and "output" in usage:
            return self.xml_structure(rust_name, doc, own, usage)
        is_pascal = next((member for member in own), "a")[0].isupper()
        lines = [commented(doc), f"#[derive({self.derives(usage)})]"]
        if own:
            lines.append(f'#[serde(rename_all = "{"PascalCase" if is_pascal else "camelCase"}")]')
        lines.append(f"pub(crate) struct {rust_name} {{")
        lines += [f"#[serde(flatten)] pub(crate) {field(part)}: {upper_camel(part)}," for part in parts]
        for member, rust in sorted(own.items()):
            lines += [] if is_renamed_by_rule(member, is_pascal) else [f'#[serde(rename = "{member}")]']
            lines.append(f"pub(crate) {field(member)}: {rust},")
        return "\n".join([*lines, "}"])

    def is_xml(self):
        return self.service.writer == "xml"

    def xml_structure(self, rust_name, doc, own, usage):
        """With its members in the order in which they are sent. One that is read as well has names that serde's rule makes."""
        derived = '#[derive(Debug, Deserialize)]\n#[serde(rename_all = "PascalCase")]' if "input" in usage else "#[derive(Debug)]"
        fields = "\n".join(f"pub(crate) {field(member)}: {rust}," for member, rust in own.items())
        writes = "".join(f'.member("{member}", &self.{field(member)})' for member in own)
        return (
            f"{commented(doc)}\n{derived}\npub(crate) struct {rust_name} {{\n{fields}\n}}\n\n"
            f"impl Structure for {rust_name} {{ fn members(&self, xml: Xml) -> Xml {{ xml{writes} }} }}"
        )

    def uninhabited(self, name):
        """A type without values, for lists that are always empty."""
        return (
            f"{commented(f'Shape `{name}`, of which there is none.')}\n#[derive({self.derives(self.used[name])})]\n"
            f"pub(crate) enum {upper_camel(name)} {{}}"
            if not self.is_xml()
            else f"{commented(f'Shape `{name}`, of which there is none.')}\n#[derive(Debug)]\npub(crate) enum {upper_camel(name)} {{}}\n\n"
            f"impl Structure for {upper_camel(name)} {{ fn members(&self, _: Xml) -> Xml {{ match *self {{}} }} }}"
        )

    def derives(self, usage):
        uses = [name for use, name in (("input", "Deserialize"), ("output", "Serialize")) if use in usage]
        return ", ".join(["Debug", *uses])

    def union(self, name):
        """Exactly one member is there: an enumeration, which serde writes as an object of one key."""
        raw, usage = self.raw[name], self.used[name]
        members = self.members(name)
        is_pascal = next(iter(members))[0].isupper()
        lines = [f"/// Shape `{name}`: one of its members.", f"#[derive({self.derives(usage)})]"]
        lines += [] if is_pascal else ['#[serde(rename_all = "camelCase")]']
        lines.append(f"pub(crate) enum {upper_camel(name)} {{")
        for member, shape in members.items():
            is_empty = self.raw[shape]["type"] == "structure" and not self.raw[shape]["members"]
            lines.append(f"{upper_camel(member)} {{}}," if is_empty else f"{upper_camel(member)}({self.rust(shape)}),")
        return "\n".join([*lines, "}"])

    def words(self, name):
        values = " ".join(f'{variant(value)} = "{value}",' for value in self.raw[name]["enum"])
        # rustfmt leaves the inside of macros as it is.
        values = textwrap.fill(values.replace(" = ", "\0"), 92).replace("\0", " = ")
        return (
            f"words! {{\n    /// Shape `{name}`.\n    {upper_camel(name)} {{\n{textwrap.indent(values, ' ' * 8)}\n    }}\n}}"
        )

    def shapes_text(self):
        """Structures, unions and enumerations below inputs and outputs."""
        texts, enumerations = [], {}
        empty_arms = {
            shape for union in self.used if self.raw.get(union, {}).get("union") for shape in self.members(union).values()
        }
        for name in sorted(self.used):
            raw = self.raw.get(name)
            if name in self.parts:
                doc = f"Shape `{name}`." if raw else f"What {listed(self.service.parts[name])} have in common."
                texts.append(self.structure(upper_camel(name), doc, self.parts[name], [], self.used[name]))
            elif name in self.service.never:
                texts.append(self.uninhabited(name))
            elif raw.get("enum"):
                values = tuple(raw["enum"])
                same = enumerations.setdefault(values, name)
                if same == name:
                    texts.append(self.words(name))
                else:
                    texts.append(alias(name, same, f"Shape `{name}`, which has the values of `{same}`."))
            elif raw.get("union"):
                texts.append(self.union(name))
            elif raw["members"] or name not in empty_arms:
                own, parts = self.split(name)
                texts.append(self.structure(upper_camel(name), f"Shape `{name}`.", own, parts, self.used[name]))
        return "\n\n".join(texts)

    def inputs_text(self):
        texts = []
        for rust_name, shape in self.inputs.items():
            own, parts = self.split(shape)
            doc = f"Input of `{rust_name.removesuffix('Input')}`: shape `{shape}`."
            texts.append(self.structure(rust_name, doc, own, parts, {"input"}))
        return "\n\n".join(texts)

    def outputs_text(self):
        """Outputs with equal members are one type."""
        texts, known = [], {}
        for name, uses in self.used.items():
            if uses == {"output"} and self.raw.get(name, {}).get("type") == "structure":
                own, parts = self.split(name)
                known[tuple(sorted(own.items())), tuple(parts)] = name
        for rust_name, shape in self.outputs.items():
            own, parts = self.split(shape)
            doc = f"Output of `{rust_name.removesuffix('Output')}`: shape `{shape}`."
            members = (tuple(sorted(own.items())), tuple(parts))
            same = known.setdefault(members, rust_name) if own or parts else rust_name
            if same == rust_name:
                texts.append(self.structure(rust_name, doc, own, parts, {"output"}))
            else:
                texts.append(alias(rust_name, same, doc))
        return "\n\n".join(texts)


def alias(name, same, doc):
    return f"{commented(doc)}\npub(crate) type {upper_camel(name)} = {upper_camel(same)};"


def commented(doc):
    return textwrap.indent(textwrap.fill(doc, 92), "/// ")


def listed(names):
    *most, last = [f"`{name}`" for name in names]
    return f"{', '.join(most)} and {last}"


def is_renamed_by_rule(member, is_pascal):
    """Whether serde's `rename_all` makes the member's name of the field's."""
    camel = "".join(part[:1].upper() + part[1:] for part in re.split("_", field(member).removeprefix("r#")))
    return member == (camel if is_pascal else camel[:1].lower() + camel[1:])
