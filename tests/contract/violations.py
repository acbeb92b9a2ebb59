"""From a service model: one good input of each operation, and every way to violate one constraint of it."""

import copy

import botocore.session

ROLE = "arn:aws:iam::000000000000:role/build"
ARN = "arn:aws:lambda:us-east-1:000000000000:microvm-image:no-such-image"

# Strings that satisfy a pattern, for members that have one.
GOOD = {
    "buildRoleArn": ROLE,
    "executionRoleArn": ROLE,
    "OperatorRole": ROLE,
    "Resource": ARN,
    "SubnetIds": "subnet-1",
    "SecurityGroupIds": "sg-1",
}

MEMBER = "failed to satisfy constraint: "


def operations():
    session = botocore.session.get_session()
    for service in ("lambda-microvms", "lambda-core"):
        model = session.get_service_model(service)
        raw = model._shape_resolver._shape_map  # noqa: SLF001: botocore hides `pattern`
        for name in model.operation_names:
            if service == "lambda-microvms" or "NetworkConnector" in name:
                yield service, model.operation_model(name), raw


def good(shape, name="x"):
    """A value of the shape that violates no constraint."""
    if shape.type_name == "structure":
        members = dict(shape.members)
        if getattr(shape, "is_tagged_union", False):
            first = next(iter(members))
            return {first: good(members[first], first)}
        return {member: good(members[member], member) for member in shape.required_members}
    if shape.type_name == "list":
        return [good(shape.member, name)]
    if shape.type_name == "map":
        return {"key": "value"}
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else GOOD.get(name, "x")
    return {"boolean": True}.get(shape.type_name, max(1, shape.metadata.get("min", 1)))


def cases():
    """Yields (id, service, operation, input, part of the expected text)."""
    for service, operation, raw in operations():
        if operation.input_shape is None:
            continue
        base = good(operation.input_shape)
        for path, value, text in violate(operation.input_shape, base, raw, ()):
            identifier = f"{operation.name}-{'.'.join(map(str, path))}-{text[-40:]}"
            yield identifier, service, operation.name, put(base, path, value), text


def put(base, path, value):
    changed = copy.deepcopy(base)
    place = changed
    for step in path[:-1]:
        place = place[step] if not isinstance(place, dict) else place.setdefault(step, {})
    if value is None:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = value
    return changed


def violate(shape, base, raw, path):
    for name, member in shape.members.items():
        here = (*path, name)
        if name in shape.required_members and member.serialization.get("location") != "uri":
            yield here, None, MEMBER + "Member must not be null"
        location = member.serialization.get("location")
        yield from violate_value(member, raw, here, name, location)


def violate_value(member, raw, here, name, location):
    rules = raw[member.name]
    low, high, pattern = rules.get("min"), rules.get("max"), rules.get("pattern")
    kind = member.type_name
    if kind == "string":
        if low and location != "uri":
            yield here, "", f"{MEMBER}Member must have length greater than or equal to {low}"
        if high:
            yield here, "y" * (high + 1), f"Member must have length less than or equal to {high}"
        if pattern:
            yield here, "\u0001 \u0001" * 10, f"Member must satisfy regular expression pattern: {pattern}"
        if rules.get("enum"):
            yield here, "WRONG", f"{MEMBER}Member must satisfy enum value set: [{', '.join(rules['enum'])}]"
    elif kind in ("integer", "long"):
        if low is not None:
            yield here, low - 1, f"{MEMBER}Member must have value greater than or equal to {low}"
        if high is not None:
            yield here, high + 1, f"{MEMBER}Member must have value less than or equal to {high}"
    elif kind == "list":
        item = good(member.member, name)
        if low:
            yield here, [], f"{MEMBER}Member must have length greater than or equal to {low}"
        if high is not None:
            yield here, [item] * (high + 1), f"{MEMBER}Member must have length less than or equal to {high}"
        yield from violate_items(member.member, raw, here, name)
    elif kind == "map":
        if high is not None:
            entries = {f"key{number}": "value" for number in range(high + 1)}
            yield here, entries, f"{MEMBER}Member must have length less than or equal to {high}"
        key, value = raw[rules["key"]["shape"]], raw[rules["value"]["shape"]]
        if "max" in key:
            yield here, {"k" * (key["max"] + 1): "v"}, f"{MEMBER}Map keys must satisfy constraint: [Member must have"
        if "max" in value:
            yield here, {"k": "v" * (value["max"] + 1)}, f"{MEMBER}Map value must satisfy constraint: [Member must have"
    elif kind == "structure" and not getattr(member, "is_tagged_union", False):
        yield from violate(member, None, raw, here)


def violate_items(item, raw, here, name):
    rules = raw[item.name]
    if rules.get("max") and item.type_name == "string":
        text = f"{MEMBER}Member must satisfy constraint: [Member must have length less than or equal to {rules['max']}"
        yield here, ["y" * (rules["max"] + 1)], text
    if rules.get("enum"):
        text = f"{MEMBER}Member must satisfy constraint: [Member must satisfy enum value set: [{', '.join(rules['enum'])}]]"
        yield here, ["WRONG"], text
