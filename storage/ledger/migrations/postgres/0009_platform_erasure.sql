-- By whom a row was written, in the name of its period: how an erasure finds it.
ALTER TABLE analytics_events ADD COLUMN actor TEXT COLLATE "C";
UPDATE analytics_events SET actor = circumstances::jsonb ->> 0;
CREATE INDEX analytics_events_of_actor ON analytics_events (actor) WHERE actor IS NOT NULL;
ALTER TABLE error_reports ADD COLUMN actor TEXT COLLATE "C";
UPDATE error_reports SET actor = circumstances::jsonb ->> 0;
CREATE INDEX error_reports_of_actor ON error_reports (actor) WHERE actor IS NOT NULL;

-- What somebody wrote is in their report alone, and goes with it: a group shows that of its oldest.
ALTER TABLE error_groups DROP COLUMN message;
ALTER TABLE error_groups DROP COLUMN stack;

ALTER TABLE erasures ADD COLUMN texts_redacted BIGINT NOT NULL DEFAULT 0;
