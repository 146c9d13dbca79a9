-- Every order of a list of jobs by an index: sorting a hundred thousand for each page is what takes long.
CREATE INDEX jobs_status_title ON jobs (status, title, id);
CREATE INDEX jobs_status_company ON jobs (status, company_name, id);
CREATE INDEX jobs_status_salary_min ON jobs (status, salary_min, id);
CREATE INDEX jobs_status_basic ON jobs (status, basic_score, id);
CREATE INDEX jobs_status_seo ON jobs (status, seo_score, id);
CREATE INDEX jobs_status_personalized ON jobs (status, personalized_score, id);
CREATE INDEX jobs_status_expires ON jobs (status, expires_at, id);
