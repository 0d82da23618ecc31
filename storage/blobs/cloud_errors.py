"""What obstore raises, told as why the store could not be used.

obstore has few classes of errors, and says the rest in text: first a line for people, then the
Rust error's structure. The structure's `kind` is what tells a timeout from a refused connection;
the bodies' codes (S3 and Google `NoSuchBucket`, Azure `ContainerNotFound`) tell a bucket that is
missing from an object that is.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from penstock.engine.blob_port import BlobReason, BlobUnavailableError

_MAX_DETAIL = 300
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|ContainerBeingDeleted")
_DENIED = re.compile(
    r"\b(?:401|403) (?:Unauthorized|Forbidden)|AccessDenied|InvalidAccessKeyId|"
    r"SignatureDoesNotMatch|ExpiredToken"
)
# The address where machines of a cloud find their credentials. It is asked only without others.
_NO_CREDENTIALS = re.compile(r"169\.254\.(?:169\.254|170\.2|170\.23)|metadata\.google\.internal")
_KIND = re.compile(r"kind: (Timeout|Connect|Request|Interrupted|Decode|Body)\b")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
# A query may carry a signature.
_QUERY = re.compile(r"\?[^\s,]*")


class ObjectMissingError(BlobUnavailableError):
    """The bucket is there and has no such object: often an answer, and an error to the others."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise BlobUnavailableError for what obstore raises, and let everything else through."""
    try:
        yield
    except FileNotFoundError as error:
        if _NO_BUCKET.search(str(error)):
            raise BlobUnavailableError(BlobReason.BUCKET_MISSING, _detail(error)) from error
        raise ObjectMissingError(BlobReason.IO_ERROR, _detail(error)) from error
    except (BaseError, OSError, ValueError) as error:
        raise BlobUnavailableError(_reason(error), _detail(error)) from error


def _reason(error: Exception) -> BlobReason:
    text = str(error)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return BlobReason.DENIED
    if _NO_BUCKET.search(text):
        return BlobReason.BUCKET_MISSING
    if _NO_CREDENTIALS.search(text) or _DENIED.search(text):
        return BlobReason.DENIED
    kind = _KIND.search(text)
    if kind is None:
        return BlobReason.IO_ERROR
    return BlobReason.TIMED_OUT if kind[1] == "Timeout" else BlobReason.UNREACHABLE


def _detail(error: Exception) -> str:
    """Cut out a line for people: no structure, no body, no query."""
    text = str(error)
    said = _QUERY.sub("", text.partition("\n")[0].partition("<")[0]).strip(" :-")
    if _NO_CREDENTIALS.search(text):
        said = f"no credentials are configured, and the machine has none ({said})"
    elif code := _CODE.search(text):
        said = f"{said} ({code[1]})"
    return said[:_MAX_DETAIL]
