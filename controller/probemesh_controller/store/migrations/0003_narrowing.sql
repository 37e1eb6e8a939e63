-- What the jobs of an agent are narrowed to, by the token it joined with. JSON, as limits.toml has it; NULL: nothing.
ALTER TABLE agent ADD COLUMN narrow TEXT;
ALTER TABLE token ADD COLUMN narrow TEXT;
