"""What stands before every request of the platform surface, and what that surface keeps."""
