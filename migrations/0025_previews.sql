-- A picture of a running job: the object that a worker replaces while it renders.

SET LOCAL lock_timeout = '2s';
ALTER TABLE jobs ADD COLUMN preview_key text;
ALTER TABLE jobs ADD COLUMN preview_step integer;
COMMENT ON COLUMN jobs.preview_key IS 'Object of the latest preview, an animated WebP; deleted with the video.';
COMMENT ON COLUMN jobs.preview_step IS 'Denoising steps done when it was made.';
