-- The stage in which frames between those of the model are computed. The wider CHECK is validated in the next file.

SET LOCAL lock_timeout = '2s';
ALTER TABLE jobs DROP CONSTRAINT jobs_stage_check;
ALTER TABLE jobs ADD CONSTRAINT jobs_stage_check CHECK (stage IN (
    'prepare', 'encode', 'denoise', 'decode',
    'interpolate',    -- frames between those of the model
    'deliver'
)) NOT VALID;
