"""What a client raises where it was asked to."""


class ClientError(Exception):
    """What was given could not be taken, or not be sent."""


class BufferFullError(ClientError):
    """The buffer holds as much as it may, or cannot be written."""


class UnsuitableError(ClientError):
    """What was to be reported is nothing that a run can have."""
