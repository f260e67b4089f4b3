-- A key that comes again with another body is told from a batch that comes again.

-- 16 bytes: the body's digest, where the key is one that the sender gave the batch. Null where an earlier version
-- stored it.
alter table receipts add column body blob;
