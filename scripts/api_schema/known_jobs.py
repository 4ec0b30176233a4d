"""Every second generated job id becomes that of a job which exists; what is random names none."""

import os

import schemathesis

_calls = 0


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    global _calls
    _calls += 1
    if path_parameters and "job_id" in path_parameters and _calls % 2:
        path_parameters["job_id"] = os.environ["KNOWN_JOB"]
    return path_parameters
