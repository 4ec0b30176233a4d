-- What the scheduler has learnt of the steps that prompts need, so that it survives restarts and every API replica plans
-- by the same.

CREATE TABLE learning (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),  -- there is one row
    learned      jsonb NOT NULL DEFAULT '{"frozen": false, "groups": []}',  -- optimizer::Learned
    taught_until timestamptz NOT NULL DEFAULT '-infinity',  -- runs that finished later have not taught yet
    version      bigint NOT NULL DEFAULT 0  -- counts changes; a writer that read an older one changes nothing
);
INSERT INTO learning DEFAULT VALUES;
COMMENT ON TABLE learning IS 'Steps that learning takes off the prompt analysis, by model, requested tier and complexity.';
