"""Where a session's frames are kept: in the spool, and in its blob once it has ended."""

from pathlib import Path


def kept_file(data_dir: Path, session_id: str) -> Path:
    """Find a session's file."""
    name = f"{session_id}.bin.gz"
    spooled = data_dir / "spool" / name
    if spooled.exists():
        return spooled
    return next((data_dir / "blobs").glob(f"*/{name}"), spooled)
