-- question: q

-- a comment
;
