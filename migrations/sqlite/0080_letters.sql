-- Single letters are terms too, so that a search for one (駅, 夜) need not compare every job.
UPDATE jobs SET search_terms = trim(search_terms || ' ' || coalesce((
    WITH RECURSIVE letters (place, letter) AS (
        SELECT 1, substr(search_text, 1, 1)
        UNION ALL SELECT place + 1, substr(search_text, place + 1, 1) FROM letters WHERE place < length(search_text)
    )
    SELECT replace(group_concat(DISTINCT letter), ',', ' ') FROM letters WHERE letter <> ' '
), ''));
