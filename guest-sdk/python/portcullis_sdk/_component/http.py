"""One HTTP exchange over `wasi:http`: the request is written, the answer is read up to its bound."""

# mypy: ignore-errors
# The bindings are there only while a component is built.

from componentize_py_types import Err, Ok

from . import interface
from .._http import HttpError, Response

_VERSION = "0_2_12"
_types = interface("http", "types", "wasi_http_types", _VERSION, "OutgoingRequest")
_handler = interface("http", "outgoing_handler", "wasi_http_outgoing_handler", _VERSION, "handle")
_streams = interface("http", "streams", "wasi_io_streams", _VERSION, "InputStream")

# The most bytes that one write to a stream takes, and that one read asks for.
_WRITE_BYTES_MAX = 4096
_READ_BYTES_MAX = 64 << 10


def send(request):
    outgoing = _outgoing(request)
    body = _asked(outgoing.body, "it has no body")
    try:
        future = _handler.handle(outgoing, None)
    except Err as error:
        raise _refused(error.value) from None
    with future:
        if request.body:
            _write(body, request.body)
        try:
            _types.OutgoingBody.finish(body, None)
        except Err as error:
            raise _refused(error.value) from None
        with future.subscribe() as ready:
            ready.block()
        answer = future.get()
    if not isinstance(answer, Ok):
        raise HttpError("failed", "the answer is not there")
    if not isinstance(answer.value, Ok):
        raise _refused(answer.value.value)
    with answer.value.value as response:
        return _incoming(response, request.answer_bytes_max)


def _asked(function, reason, *arguments):
    try:
        return function(*arguments)
    except Err:
        raise HttpError("request", reason) from None


def _outgoing(request):
    headers = [(name, value.encode()) for name, value in request.headers]
    if request.body:
        headers.append(("content-length", str(len(request.body)).encode()))
    try:
        fields = _types.Fields.from_list(headers)
    except Err as error:
        raise HttpError("request", f"a header: {_name(error.value)}") from None
    outgoing = _types.OutgoingRequest(fields)
    scheme = _types.Scheme_Https() if request.scheme == "https" else _types.Scheme_Http()
    _asked(outgoing.set_method, "the method can't be sent", _types.Method_Other(request.method))
    _asked(outgoing.set_scheme, "the scheme can't be sent", scheme)
    _asked(outgoing.set_authority, "the host can't be sent", request.authority)
    _asked(outgoing.set_path_with_query, "the path can't be sent", request.path)
    return outgoing


def _write(body, data):
    try:
        with body.write() as stream:
            for start in range(0, len(data), _WRITE_BYTES_MAX):
                stream.blocking_write_and_flush(data[start : start + _WRITE_BYTES_MAX])
    except Err as error:
        raise _broken(error.value) from None


def _incoming(response, bytes_max):
    status = response.status()
    with response.headers() as fields:
        headers = [(name.lower(), value.decode(errors="replace")) for name, value in fields.entries()]
    try:
        with response.consume() as body, body.stream() as stream:
            return Response(status, headers, _read(stream, bytes_max))
    except Err:
        raise HttpError("failed", "the body can't be read") from None


def _read(stream, bytes_max):
    data = bytearray()
    while True:
        try:
            chunk = stream.blocking_read(_READ_BYTES_MAX)
        except Err as error:
            if isinstance(error.value, _streams.StreamError_Closed):
                return bytes(data)
            raise _broken(error.value) from None
        if len(data) + len(chunk) > bytes_max:
            raise HttpError("too-long", str(bytes_max))
        data += chunk


def _broken(error):
    if isinstance(error, _streams.StreamError_LastOperationFailed):
        return HttpError("failed", error.value.to_debug_string())
    return HttpError("failed", "the connection was closed")


def _refused(error):
    if isinstance(error, _types.ErrorCode_HttpRequestDenied):
        return HttpError("denied")
    return HttpError("failed", _name(error))


def _name(error):
    """The name of a case, and what it says if it says anything."""
    told = getattr(error, "value", None)
    name = type(error).__name__.partition("_")[2]
    return f"{name}: {told}" if told else name
