"""Patients who send on a schedule, and the account of what became of what they sent."""
