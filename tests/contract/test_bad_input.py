"""Each constraint of each operation, violated once: the modelled error with the text that AWS gives."""

import pytest

from .checked import checked, refusal
from .violations import cases

CASES = list(cases())


@pytest.fixture(scope="module")
def clients(server):
    """Clients that do not validate their input."""
    return {
        service: checked(server.client(service, parameter_validation=False))
        for service in ("lambda-microvms", "lambda-core")
    }


@pytest.mark.parametrize("service, operation, parameters, text", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_violation(clients, service, operation, parameters, text):
    client = clients[service]
    method = next(name for name, model in client.meta.method_to_api_mapping.items() if model == operation)
    status, code, message = refusal(getattr(client, method), **parameters)
    assert (status, code) == (400, "ValidationException"), message
    assert text in message
    assert " validation error" in message


def test_there_are_cases_for_every_operation_with_constraints():
    assert len(CASES) > 150
    assert len({case[2] for case in CASES}) >= 28
