-- Adapters (LoRA) that requests may name. The files are in the object store, named by their content.

CREATE TABLE loras (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id),
    model_id    text NOT NULL,
    name        text NOT NULL,
    fingerprint text NOT NULL,
    bytes       bigint NOT NULL CHECK (bytes > 0),
    rank        integer NOT NULL,
    layers      integer NOT NULL,
    description text NOT NULL DEFAULT '',
    sampling    jsonb,
    shared      boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tenant_id, model_id, name)
);
COMMENT ON TABLE loras IS 'Adapters that requests may name. A row is the right to use a file; several rows may have the same file.';
COMMENT ON COLUMN loras.tenant_id IS 'Its owner. Adapters of model folders belong to the default tenant and are shared.';
COMMENT ON COLUMN loras.model_id IS 'The model that it was checked against.';
COMMENT ON COLUMN loras.name IS 'What requests call it; unique for its owner and model.';
COMMENT ON COLUMN loras.fingerprint IS 'blake3 of the file, hex; names the object.';
COMMENT ON COLUMN loras.bytes IS 'Size of the file.';
COMMENT ON COLUMN loras.rank IS 'Largest rank of its factors; 0 for plain differences.';
COMMENT ON COLUMN loras.layers IS 'Layers of the model that it changes.';
COMMENT ON COLUMN loras.description IS 'What its owner says about it, for people.';
COMMENT ON COLUMN loras.sampling IS 'Steps, shift and guidance that it was trained for; NULL for the model''s own.';
COMMENT ON COLUMN loras.shared IS 'Whether every tenant may use it. Only an admin can say so.';
CREATE INDEX loras_by_file ON loras (model_id, fingerprint);
