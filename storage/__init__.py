"""What outlives the process: the frame spool and the grants of principals."""
