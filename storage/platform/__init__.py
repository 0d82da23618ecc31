"""Files that the platform surface looks things up in."""
