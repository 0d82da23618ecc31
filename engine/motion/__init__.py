"""From landmarks to what a clinician reads. NumPy, no I/O, no clock."""
