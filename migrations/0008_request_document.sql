-- The request becomes one document, so that a new field of the request needs no column (see "Waiting to be contracted" in
-- README.md). Columns remain for what SQL filters or sorts by: prompt, model_id, deadline_at.

SET LOCAL lock_timeout = '2s';
ALTER TABLE jobs ADD COLUMN request jsonb;
COMMENT ON COLUMN jobs.request IS 'domain::VideoRequest with seed and model filled in; NULL for jobs of earlier releases, which have only the columns.';

-- Still written, for releases that read them, and read for jobs without the document.
COMMENT ON COLUMN jobs.video_size IS 'Superseded by request.';
COMMENT ON COLUMN jobs.aspect_ratio IS 'Superseded by request.';
COMMENT ON COLUMN jobs.video_length IS 'Superseded by request.';
COMMENT ON COLUMN jobs.infer_steps IS 'Superseded by request.';
COMMENT ON COLUMN jobs.quality_tier IS 'Superseded by request.';
COMMENT ON COLUMN jobs.seed IS 'Superseded by request.';
COMMENT ON COLUMN jobs.cfg_scale IS 'Superseded by request.';
COMMENT ON COLUMN jobs.flow_reverse IS 'Superseded by request.';
COMMENT ON COLUMN jobs.negative_prompt IS 'Superseded by request.';
COMMENT ON COLUMN jobs.true_cfg_scale IS 'Superseded by request.';
COMMENT ON COLUMN jobs.step_cache IS 'Superseded by request.';
COMMENT ON COLUMN jobs.similar_prompts IS 'Superseded by request.';
COMMENT ON COLUMN jobs.deadline_s IS 'Superseded by request; deadline_at stays.';
