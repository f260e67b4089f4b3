-- Receipts are bounded by number: those of the last so many batches are kept.

create index receipts_by_seq on receipts (seq);
