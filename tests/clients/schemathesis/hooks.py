"""What schemathesis can't know of the host: how a component is sent, which requests never end, and that whoever asks
must not take its own key away."""

import os

import schemathesis

# The principal that asks, and the public beginning of its key.
SELF = tuple(name for name in os.environ.get("PORTCULLIS_SELF", "").split(",") if name)


@schemathesis.serializer("application/wasm", "application/jsonl")
def send_bytes(ctx, value):
    """Whatever was made for the body, as bytes."""
    if isinstance(value, bytes):
        return {"data": value}
    data = getattr(value, "data", None)
    return {"data": data if isinstance(data, bytes) else str(value).encode("utf-8", "surrogatepass")}


def follows(query):
    return isinstance(query, dict) and "true" in str(query.get("follow", "")).lower()


def is_own(parameters):
    return isinstance(parameters, dict) and any(str(value).startswith(SELF) for value in parameters.values())


@schemathesis.hook
def filter_query(ctx, query):
    """A log that is followed is answered without end: tested elsewhere."""
    return not follows(query)


@schemathesis.hook
def filter_path_parameters(ctx, path_parameters):
    return not SELF or not is_own(path_parameters)


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """The same of requests that no strategy made."""
    if follows(case.query):
        case.query.pop("follow")
    if SELF and is_own(case.path_parameters):
        for name in case.path_parameters:
            case.path_parameters[name] = "nobody"
