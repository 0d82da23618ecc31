"""Penstock's defaults that a large run must raise, and to what. Pure."""

# The defaults of max_live_sessions, max_connections, token_cache_entries and spool_open_files.
LIVE_SESSIONS = 20_000
CONNECTIONS = 12_000
TOKENS = 65_536
SPOOL_FILES = 16_384

# Connections that come and go beside the load's: metrics, and those that close while others open.
OTHER_CONNECTIONS = 256
# More than a batch of usual size costs while it waits, compressed and inflated.
_BATCH_BYTES = 16_384
# Of its limit of open files, Penstock leaves this part free for connections that are new.
_SPARE_SHARE = 16


def needed_settings(sessions: int, connections: int) -> dict[str, object]:
    """Give the settings without which a server would refuse so many, or serve them differently."""
    needed: dict[str, object] = {}
    if sessions > LIVE_SESSIONS:
        needed["max_live_sessions"] = sessions
        needed["frame_memory_bytes"] = sessions * _BATCH_BYTES
    if sessions > TOKENS:
        # Otherwise every batch's token would be verified anew, which no smaller run pays for.
        needed["token_cache_entries"] = sessions
    if connections + OTHER_CONNECTIONS > CONNECTIONS:
        needed["max_connections"] = connections + OTHER_CONNECTIONS
    return needed


def files_told(limit: int, sessions: int, connections: int) -> str:
    """Say whether the server can keep a spool file open for each session beside the connections."""
    left = limit - limit // _SPARE_SHARE - connections
    if left >= min(sessions, SPOOL_FILES):
        return f"up to {limit:,}"
    return (
        f"up to {limit:,}: too few to keep every session's file open, so the server opens files "
        "again and again, and costs more than it would with a higher limit (ulimit -Hn)"
    )
