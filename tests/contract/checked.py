"""Holds every answer of a client against the service model: types, required members, enumerations, patterns.

botocore parses whatever comes and drops what it does not know; it would not notice an answer without a
required member. Here each answer, errors included, is walked along its shape.
"""

import json
import re

from botocore.exceptions import ClientError

# The model says "no blanks" of a reason that is a sentence on AWS too (facts, section 19).
LOOSE = {
    ("NonBlankString", "stateReason"),
    # `Creating` is sent and not in the model (facts on functions, section 1.3).
    ("LastUpdateStatusReasonCode", "LastUpdateStatusReasonCode"),
}

# Recorded where the model says otherwise (facts on functions, sections 1.1 and 1.11).
STATUSES = {"DeleteFunction": 204}
NOT_REQUIRED = {("GetFunctionCodeSigningConfigResponse", "CodeSigningConfigArn")}


# Members that AWS sends and no model has (facts, section 4).
UNMODELLED = {"id", "terminationReasonCode"}


def checked(client):
    """The same client; every answer it gets is checked."""
    model = client.meta.service_model

    def after_call(http_response, parsed, model, **_):
        if http_response.status_code >= 300:
            check_error(http_response, parsed, model)
        else:
            check_answer(http_response, model)

    client.meta.events.register(f"after-call.{model.service_id.hyphenize()}", after_call)
    return client


def check_answer(http_response, operation):
    http = operation.http
    wanted = STATUSES.get(operation.name, http.get("responseCode", 200))
    assert http_response.status_code == wanted, operation.name
    assert http_response.headers["x-amzn-requestid"]
    body = json.loads(http_response.content) if http_response.content else {}
    if operation.output_shape is not None and operation.name not in STATUSES:
        walk(operation.output_shape, body, operation.name)
    assert list(body) == sorted(body), f"{operation.name}: keys are not alphabetical"


def check_error(http_response, parsed, operation):
    code = http_response.headers["x-amzn-errortype"]
    assert http_response.headers["x-amzn-requestid"]
    shapes = {shape.name: shape for shape in operation.error_shapes}
    # The service sends ValidationException where the model of lambda-core has none (facts, section 4).
    if code not in shapes:
        common = {"AccessDeniedException", "ValidationException", "SerializationException", "RequestEntityTooLargeException"}
        assert code in common, f"{operation.name}: {code} is not one of its errors"
        return
    shape = shapes[code]
    assert http_response.status_code == shape.metadata["error"]["httpStatusCode"], code
    if http_response.status_code == 429:
        assert int(http_response.headers["retry-after"]) >= 1
    body = json.loads(http_response.content)
    members = {name: member for name, member in shape.members.items() if member.serialization.get("location") is None}
    for name in body:
        assert name in members, f"{operation.name}: {code} has no member {name}"
    for name in shape.required_members:
        assert body.get(name) is not None, f"{operation.name}: {code} lacks {name}"


def walk(shape, value, path):
    getattr(Walk, shape.type_name)(shape, value, path)


class Walk:
    @staticmethod
    def structure(shape, value, path):
        assert isinstance(value, dict), f"{path}: not an object"
        for name in shape.required_members:
            assert value.get(name) is not None or (shape.name, name) in NOT_REQUIRED, f"{path}: {name} is missing"
        for name, member in value.items():
            if name in UNMODELLED:
                continue
            assert name in shape.members, f"{path}: {name} is not in the model"
            if member is not None and (shape.members[name].name, name) not in LOOSE:
                walk(shape.members[name], member, f"{path}.{name}")

    @staticmethod
    def list(shape, value, path):
        assert isinstance(value, list), f"{path}: not a list"
        Walk.bounds(shape, len(value), path)
        for index, item in enumerate(value):
            walk(shape.member, item, f"{path}[{index}]")

    @staticmethod
    def map(shape, value, path):
        Walk.bounds(shape, len(value), path)
        for key, item in value.items():
            walk(shape.key, key, f"{path} key")
            walk(shape.value, item, f"{path}.{key}")

    @staticmethod
    def string(shape, value, path):
        assert isinstance(value, str), f"{path}: not a string"
        Walk.bounds(shape, len(value), path)
        if shape.enum:
            assert value in shape.enum, f"{path}: {value} is not in {shape.enum}"
        pattern = shape.metadata.get("pattern")
        if pattern and r"\p{" not in pattern:
            assert re.fullmatch(pattern, value), f"{path}: {value} does not match {pattern}"

    @staticmethod
    def integer(shape, value, path):
        assert isinstance(value, int) and not isinstance(value, bool), f"{path}: not an integer"
        Walk.bounds(shape, value, path)

    long = integer

    @staticmethod
    def double(shape, value, path):
        assert isinstance(value, (int, float)) and not isinstance(value, bool), f"{path}: not a number"
        Walk.bounds(shape, value, path)

    @staticmethod
    def boolean(shape, value, path):
        assert isinstance(value, bool), f"{path}: not a boolean"

    @staticmethod
    def timestamp(shape, value, path):
        if shape.serialization.get("timestampFormat") == "iso8601" or isinstance(value, str):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|\+0000)", value), f"{path}: {value}"
        else:
            assert isinstance(value, float), f"{path}: epoch seconds have a fraction"

    @staticmethod
    def bounds(shape, size, path):
        assert size >= shape.metadata.get("min", size), f"{path}: below its minimum"
        assert size <= shape.metadata.get("max", size), f"{path}: above its maximum"


def refusal(call, **parameters):
    """The error that a call is answered with: status, type, text."""
    try:
        call(**parameters)
    except ClientError as error:
        response = error.response
        return (
            response["ResponseMetadata"]["HTTPStatusCode"],
            response["Error"]["Code"],
            response["Error"].get("Message"),
        )
    raise AssertionError("the call succeeded")
