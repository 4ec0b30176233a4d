-- Pictures that videos begin from.
SET LOCAL lock_timeout = '2s';

CREATE TABLE images (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id),
    sha256      text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    width       integer NOT NULL CHECK (width > 0),
    height      integer NOT NULL CHECK (height > 0),
    bytes       bigint NOT NULL CHECK (bytes > 0),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    kept_since  timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tenant_id, sha256)
);
COMMENT ON TABLE images IS 'Uploaded pictures. The files are in the object store, named by tenant and id: first the file, then the row.';
COMMENT ON COLUMN images.sha256 IS 'SHA-256 of the stored file, hex. The same picture of one tenant is one row.';
COMMENT ON COLUMN images.bytes IS 'Size of the stored file.';
COMMENT ON COLUMN images.kept_since IS 'Last upload. A picture that no job uses is removed scheduler.image_ttl_s after it.';
CREATE INDEX images_kept_since ON images (kept_since);

-- The reference is the guard: a picture that a job uses cannot be deleted, and a job cannot use a deleted one, in whatever order the
-- two transactions run. A new column without a default needs no scan of the table.
ALTER TABLE jobs ADD COLUMN image_id uuid REFERENCES images (id);
COMMENT ON COLUMN jobs.image_id IS 'The picture that the video begins from; the request names it too. NULL for text alone.';
