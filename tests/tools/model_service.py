"""Generates the trait of a service, and the dispatch of operations to its methods."""

from model_names import field


def render(service, model, types):
    """The body of `mod.rs`."""
    operations = [operation.name for operation in types.operations]
    names = ", ".join(operations)
    writers = sorted({writer(service, types, operation) for operation in types.operations})
    if service.writer == "xml":
        uses = f"use super::values::read;\nuse crate::wire::xml::{{Xml, {', '.join(writers)}}};"
    else:
        uses = f"use super::values::{{{', '.join(['Written', *sorted(['read', *writers])])}}};"
    written = "Xml" if service.writer == "xml" else "Written"
    parts = [name for name, text in (("inputs", types.inputs_text()), ("outputs", types.outputs_text()), ("shapes", types.shapes_text())) if text]
    models = "\n".join(f"Self::{name} => &constraints::{field(name).upper()}," for name in operations)
    return f"""mod constraints;
{" ".join(f"mod {part};" for part in parts)}

{'use std::future::Future;' if service.is_async else ''}

{" ".join(f"pub(crate) use {part}::*;" for part in parts)}

{uses}
use super::{{Input, OperationModel}};
use crate::fault::Fault;

/// The operations of `{service.name}` that Hearth answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {{ {names} }}

impl Operation {{
    /// Every operation.
    pub(crate) const ALL: &[Self] = &[{", ".join(f"Self::{name}" for name in operations)}];

    /// Its address and what it accepts.
    pub(crate) fn model(self) -> &'static OperationModel {{
        match self {{ {models} }}
    }}

    /// Performs the operation on an input that its constraints have accepted.
    pub(crate) {'async ' if service.is_async else ''}fn perform<S: {service.trait}>(self, service: &S, input: Input) -> Result<{written}, Fault> {{
        match self {{ {" ".join(arm(service, types, operation) for operation in types.operations)} }}
    }}
}}

/// What the model says of each operation.
pub(super) fn models() -> impl Iterator<Item = &'static OperationModel> {{
    Operation::ALL.iter().map(|operation| operation.model())
}}

{refused(service)}/// One method for each operation of `{service.name}`.
pub(crate) trait {service.trait}{': Sync' if service.is_async else ''} {{
    {" ".join(method(service, types, operation) for operation in types.operations)}
}}
"""


def refused(service):
    if not service.is_refusing:
        return ""
    doc = f"/// The addresses of the operations of `{service.name}` that Hearth refuses by name.\n"
    return f"{doc}pub(crate) fn refused() -> &'static [OperationModel] {{ constraints::REFUSED }}\n\n"


def writer(service, types, operation):
    if service.writer == "xml":
        return "answered" if types.has_output(operation) else "empty"
    if not types.has_output(operation):
        return "nothing"
    return service.writers.get(operation.name, service.writer)


def arm(service, types, operation):
    argument = "read(input)?" if operation.input_shape else ""
    call = f"service.{field(operation.name)}({argument}){'.await' if service.is_async else ''}?"
    how = writer(service, types, operation)
    borrow = "&" if how == "answered" else ""
    return f"Self::{operation.name} => {how}({borrow}{call}),"


def method(service, types, operation):
    argument = f", input: {operation.name}Input" if operation.input_shape else ""
    output = f"{operation.name}Output" if types.has_output(operation) else "()"
    result = f"Result<{output}, Fault>"
    returned = f"impl Future<Output = {result}> + Send" if service.is_async else result
    return f"/// `{operation.name}`.\n fn {field(operation.name)}(&self{argument}) -> {returned};"
