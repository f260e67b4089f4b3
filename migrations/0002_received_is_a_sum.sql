-- What was received is accepted + rejected + duplicate: one fact in one place.

alter table totals drop column received;
