"""The domain: sessions, batches, frames, outcomes. No web framework, no database, no HTTP."""
