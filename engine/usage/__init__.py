"""Usage: a person's own counters of one day, taken only from who has opted in."""
