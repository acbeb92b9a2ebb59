"""Starts the interface client with a function's code in front of the runtime's packages."""

import os
import sys

# Before the function's own packages can be found.
from awslambdaric.__main__ import main

version = f"python{sys.version_info.major}.{sys.version_info.minor}"
task = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
layers = [f"/opt/python/lib/{version}/site-packages", "/opt/python"]
# The folder of this file comes last: it has the client and the SDK.
own = os.path.dirname(os.path.abspath(__file__))
sys.path = [task, *layers, *(path for path in sys.path if path not in ("", own, task)), own]

if __name__ == "__main__":
    main(["awslambdaric", os.environ["_HANDLER"]])
