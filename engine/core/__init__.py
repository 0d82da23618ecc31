"""The embedded companion Core: exercise sessions, their figures, consents and quotas."""
