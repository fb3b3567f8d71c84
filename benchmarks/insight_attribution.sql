-- Journeys by path and all rule models of attribution, by hand, for the benchmark of attribution: kind, name, converted,
-- number, revenue. Written for a log in which every visit has a session_id and every order a visit before it.
WITH log AS NOT MATERIALIZED (
    SELECT user_id, session_id, ts, event_type, order_id, nullif(channel, 'direct') AS channel, quantity, price
    FROM read_parquet({log}) WHERE for_analytics
),
sessions AS MATERIALIZED (
    SELECT user_id, session_id, min(ts) AS ts, min(ts) FILTER (channel IS NOT NULL) AS named_ts,
           min(channel) AS channel, max(channel) AS other
    FROM log
    WHERE session_id IS NOT NULL
      AND event_type IN ('view', 'view_section', 'search', 'favorite', 'cart', 'remove_from_cart', 'checkout', 'purchase',
                         'login', 'message_clicked')
    GROUP BY user_id, session_id
),
touches AS (
    SELECT user_id, epoch_us(coalesce(named_ts, ts)) AS us, coalesce(channel, 'direct') AS touch
    FROM sessions WHERE channel IS NULL OR channel = other
    UNION ALL
    SELECT user_id, epoch_us(min(ts)), channel
    FROM log SEMI JOIN (SELECT user_id, session_id FROM sessions WHERE channel <> other) AS mixed USING (user_id, session_id)
    WHERE channel IS NOT NULL GROUP BY user_id, session_id, channel
),
orders AS (
    SELECT user_id, order_id, epoch_us(min(ts)) AS us, sum(coalesce(quantity, 1) * coalesce(price, 0))::BIGINT AS revenue
    FROM log WHERE event_type = 'purchase' GROUP BY user_id, order_id
),
-- which order a touch leads to: the next one of the user
moments AS (
    SELECT user_id, us, touch, NULL AS revenue, NULL AS order_id FROM touches
    UNION ALL SELECT user_id, us, NULL, revenue, order_id FROM orders
),
led AS (
    SELECT user_id, us, touch, count(order_id) OVER back AS journey, min(CASE WHEN touch IS NULL THEN us END) OVER back AS order_us,
           arg_min(revenue, us) FILTER (touch IS NULL) OVER back AS revenue
    FROM moments
    WINDOW back AS (PARTITION BY user_id ORDER BY us DESC, touch DESC NULLS FIRST, order_id DESC ROWS UNBOUNDED PRECEDING)
),
cut AS (
    SELECT user_id, us, touch, journey, order_us, revenue,
           greatest(coalesce(order_us, (SELECT max(us) FROM touches)) - us - 1, 0) // 2592000000000 AS stretch
    FROM led WHERE touch IS NOT NULL
),
journeys AS MATERIALIZED (
    SELECT user_id, (journey > 0 AND stretch = 0)::INT AS converted, list(touch ORDER BY us, touch) AS path, list(us ORDER BY us, touch) AS instants,
           any_value(order_us) AS order_us, CASE WHEN journey > 0 AND stretch = 0 THEN any_value(revenue) ELSE 0 END AS revenue
    FROM cut GROUP BY user_id, journey, stretch
),
steps AS MATERIALIZED (
    SELECT touch, position, n, told, revenue, 2.0 ** ((us - order_us) / 604800000000) / decay AS decayed
    FROM (
        SELECT unnest(path) AS touch, unnest(instants) AS us, unnest(range(1, len(path) + 1)) AS position, len(path) AS n, order_us,
               revenue, list_sum([2.0 ** ((x - order_us) / 604800000000) FOR x IN instants]) AS decay,
               coalesce(list_max([i FOR x, i IN path IF x <> 'direct']), len(path)) AS told
        FROM journeys WHERE converted = 1
    )
)
SELECT 'path' AS kind, array_to_string(path, ' > ') AS name, converted, count(*)::DOUBLE AS number, sum(revenue)::DOUBLE AS revenue
FROM journeys GROUP BY path, converted
UNION ALL
SELECT model, touch, 1, sum(share), sum(share * revenue)
FROM (
    SELECT touch, revenue,
           unnest(['first', 'last', 'last_non_direct', 'linear', 'position', 'time_decay']) AS model,
           unnest([(position = 1)::INT, (position = n)::INT, (position = told)::INT, 1 / n,
                   CASE n WHEN 1 THEN 1 WHEN 2 THEN 0.5 ELSE CASE WHEN position IN (1, n) THEN 0.4 ELSE 0.2 / (n - 2) END END,
                   decayed]::DOUBLE[]) AS share
    FROM steps
)
GROUP BY model, touch
