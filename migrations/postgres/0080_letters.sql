-- Single letters are terms too, so that a search for one (駅, 夜) need not compare every job.
UPDATE jobs SET search_terms = concat_ws(' ', nullif(search_terms, ''),
    (SELECT string_agg(DISTINCT letter, ' ') FROM regexp_split_to_table(search_text, '') AS letter WHERE letter <> ' '));
