"""Runs Python code of a user, with a timeout, and puts the result into S3.

    {"code": "print(6 * 7)", "result_url": "http://..."}                    a presigned URL for PUT
    {"code": "...", "result": {"bucket": "results", "key": "ada/1.json"}}   boto3, if the runtime has it

The code runs as a process of its own: it cannot change the handler's variables, and ends with its whole process group
when its time is over. It is the same user in the same guest: it can read what the handler can read, the keys of the
execution role too. So that role should be allowed nothing, which presigned URLs make possible.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import urllib.request

# Less than the function's own timeout, so that the caller learns what happened.
TIMEOUT_S = 25

# Output beyond this is cut off: it is kept in memory and sent to S3.
MAX_OUTPUT_BYTES = 1 << 20

# Files that the code may write, each.
MAX_FILE_BYTES = 64 << 20


def handler(event, context):
    result = run(event["code"], timeout_s(event, context))
    place = store(event, json.dumps(result).encode())
    return {"status": result["status"], "exit_status": result["exit_status"], "stored": place}


def timeout_s(event, context):
    """What is asked for, within what is left of the invocation. Two seconds are for storing the result."""
    left_s = context.get_remaining_time_in_millis() / 1000 - 2
    return max(0.1, min(float(event.get("timeout_s", TIMEOUT_S)), TIMEOUT_S, left_s))


def run(code, timeout):
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        # Files instead of pipes: a process that the code has left behind holds no pipe open.
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", code],
            cwd=folder,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": folder, "TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=limit,
        )
        try:
            exit_status = child.wait(timeout)
            status = "done" if exit_status == 0 else "failed"
        except subprocess.TimeoutExpired:
            exit_status, status = None, "timeout"
        finally:
            end(child)
        output.seek(0)
        text = output.read(MAX_OUTPUT_BYTES).decode(errors="replace")
    return {"status": status, "exit_status": exit_status, "output": text}


def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end(child):
    """Ends the process group, which outlives its leader if the code has forked."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def store(event, result):
    if url := event.get("result_url"):
        request = urllib.request.Request(url, data=result, method="PUT", headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return {"http_status": answer.status}
    place = event["result"]
    try:
        import boto3
    except ImportError:
        raise RuntimeError("this runtime has no boto3: hand in a presigned URL as result_url") from None
    boto3.client("s3").put_object(Bucket=place["bucket"], Key=place["key"], Body=result)
    return {"bucket": place["bucket"], "key": place["key"]}
