-- Weekly retention of everyone who came, by hand, for the benchmark of retention: cohort, period, size, returned.
WITH log AS NOT MATERIALIZED (
    SELECT user_id, local_day FROM read_parquet({log})
    WHERE for_analytics AND event_type IN ('view', 'view_section', 'search', 'favorite', 'cart', 'remove_from_cart',
                                           'checkout', 'purchase', 'login')
),
firsts AS MATERIALIZED (SELECT user_id, date_trunc('week', min(local_day))::DATE AS cohort FROM log GROUP BY user_id),
weeks AS (SELECT DISTINCT user_id, date_trunc('week', local_day)::DATE AS week FROM log),
returned AS (
    SELECT cohort, (week - cohort) // 7 AS period, count(*) AS returned
    FROM weeks JOIN firsts USING (user_id) WHERE week > cohort GROUP BY ALL
),
sizes AS (SELECT cohort, count(*) AS customers FROM firsts GROUP BY cohort)
SELECT cohort, period, customers, returned FROM returned JOIN sizes USING (cohort) ORDER BY cohort, period
