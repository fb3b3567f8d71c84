-- The columns of the customer table that SQL can state, by hand, for the benchmark beside it.
CREATE TABLE reference AS
WITH log AS NOT MATERIALIZED (
    SELECT *, date_diff('day', local_day, DATE '{as_of}') AS age FROM read_parquet('{log}')
    WHERE for_analytics AND local_day <= DATE '{as_of}'
),
seen AS (SELECT DISTINCT user_id FROM log),
acts AS (
    SELECT user_id, min(local_day) AS first_interaction_day, max(local_day) AS last_interaction_day,
           count(*) AS num_interactions
    FROM log WHERE event_type NOT IN ('impression', 'message_sent', 'message_delivered', 'message_bounced')
    GROUP BY user_id
),
latest AS (SELECT user_id, arg_max(region, ts) AS last_region, arg_max(device_id, ts) AS last_device_id FROM log GROUP BY user_id),
list_prices AS MATERIALIZED (
    SELECT item_id, age // 56 AS period, quantile_disc(price, 0.9) AS list_price
    FROM log WHERE event_type IN ('view', 'favorite', 'cart', 'purchase') AND price IS NOT NULL GROUP BY ALL
),
bought AS MATERIALIZED (
    SELECT b.*, coalesce(quantity, 1) AS units, coalesce(quantity, 1) * coalesce(price, 0) AS amount,
           coalesce(order_id, 'day ' || local_day) AS order_key, list_price,
           local_day > min(local_day) OVER (PARTITION BY user_id, b.item_id) AS again
    FROM (SELECT user_id, item_id, local_day, order_id, coupon_id, quantity, price, age FROM log WHERE event_type = 'purchase') b
    LEFT JOIN list_prices p ON p.item_id = b.item_id AND p.period = b.age // 56
),
buyers AS (
    SELECT user_id, min(local_day) AS first_purchase_day, max(local_day) AS last_purchase_day, min(age) AS recency_days,
           count(DISTINCT order_key) AS frequency, sum(amount) AS monetary, sum(units) AS all_units,
           avg(again::INT) AS rebuy_share,
           sum(amount) FILTER (price * 100 <= list_price * 95) AS cheap, sum(amount) FILTER (price IS NOT NULL) AS priced
    FROM bought GROUP BY user_id
),
scored AS (
    SELECT *, 1 + 5 * (rank() OVER (ORDER BY recency_days DESC) - 1) // count(*) OVER () AS recency_score,
           1 + 5 * (rank() OVER (ORDER BY frequency) - 1) // count(*) OVER () AS frequency_score,
           1 + 5 * (rank() OVER (ORDER BY monetary) - 1) // count(*) OVER () AS monetary_score
    FROM buyers
),
growth AS (
    SELECT user_id, CASE WHEN last > 180 THEN 'lost' WHEN last > 60 OR now * 100 < before * 50 THEN 'silent'
                         WHEN first <= 30 THEN 'newcomer' WHEN now + before >= 5 THEN 'loyal' ELSE 'growing' END AS growth_stage
    FROM (SELECT user_id, min(age) AS last, max(age) AS first, count(*) FILTER (age < 90) AS now,
                 count(*) FILTER (age BETWEEN 90 AND 179) AS before
          FROM (SELECT DISTINCT user_id, age FROM bought) GROUP BY user_id)
),
gaps AS (
    SELECT user_id, median(gap) AS days_between_orders FROM (
        SELECT user_id, local_day - lag(local_day) OVER (PARTITION BY user_id ORDER BY local_day) AS gap
        FROM (SELECT DISTINCT user_id, local_day FROM bought)) GROUP BY user_id
),
sent_back AS (
    SELECT user_id, sum(coalesce(quantity, 1) * coalesce(price, 0)) AS refunded FROM log WHERE event_type = 'refund' GROUP BY user_id
),
visit AS MATERIALIZED (
    SELECT user_id, visit_id, min(local_day) AS local_day, arg_min(local_hour, ts) AS local_hour, count(*) AS num_events,
           count(*) FILTER (event_type = 'view') AS num_views, max((event_type = 'purchase')::INT) AS bought,
           coalesce(sum(dwell_ms), (epoch_us(max(ts)) - epoch_us(min(ts))) // 1000) / 1000 AS seconds, min(age) AS age
    FROM (
        SELECT user_id, session_id AS visit_id, ts, local_day, local_hour, event_type, dwell_ms, age FROM log
        WHERE event_type IN {visit_events} AND session_id IS NOT NULL
        UNION ALL
        SELECT user_id, 'gap ' || sum(opens) OVER (PARTITION BY user_id ORDER BY ts, event_id ROWS UNBOUNDED PRECEDING),
               ts, local_day, local_hour, event_type, dwell_ms, age
        FROM (
            SELECT *, (ts - lag(ts) OVER (PARTITION BY user_id ORDER BY ts, event_id) <= INTERVAL 30 MINUTE) IS NOT TRUE AS late,
                   late::INT AS opens
            FROM log WHERE event_type IN {visit_events} AND session_id IS NULL)
    ) GROUP BY user_id, visit_id
),
visitors AS (
    SELECT user_id, count(*) AS num_visits, count(*) FILTER (age < 28) AS num_visits_28d,
           count(DISTINCT local_day) AS active_days, avg(num_events) AS depth, avg(num_views) AS views_per_visit,
           median(seconds) AS dwell_seconds, avg(bought) AS visit_conversion
    FROM visit GROUP BY user_id
),
moment AS MATERIALIZED (
    SELECT user_id, local_day, local_hour FROM visit
    UNION ALL SELECT user_id, local_day, local_hour FROM log WHERE event_type IN ('message_opened', 'message_clicked')
),
hour_counts AS (SELECT user_id, local_hour, count(*) AS n FROM moment GROUP BY ALL),
shop_hours AS (
    SELECT h AS hour, count(local_hour) / (SELECT count(*) FROM moment) AS share
    FROM range(24) AS r(h) LEFT JOIN moment ON local_hour = h GROUP BY h
),
totals AS (SELECT user_id, sum(n) AS num_moments FROM hour_counts GROUP BY user_id),
kernel(step, weight) AS (VALUES (-2, 1), (-1, 2), (0, 3), (1, 2), (2, 1)),
own_hours AS (
    SELECT t.user_id, s.hour, (coalesce(n, 0) + 10 * s.share) / (num_moments + 10) AS share
    FROM totals t CROSS JOIN shop_hours s LEFT JOIN hour_counts c ON c.user_id = t.user_id AND c.local_hour = s.hour
),
smooth AS MATERIALIZED (
    SELECT user_id, (hour - step + 24) % 24 AS hour, sum(share * weight) / 9 AS share
    FROM own_hours CROSS JOIN kernel GROUP BY ALL
),
quiet AS (
    SELECT user_id, arg_min(start, (round(quiet, 12), start)) AS quiet_from FROM (
        SELECT user_id, (hour - d + 24) % 24 AS start, sum(share) AS quiet FROM smooth CROSS JOIN range(8) AS r(d) GROUP BY ALL)
    GROUP BY user_id
),
best AS (
    SELECT user_id, arg_max(hour, (round(share, 12), -hour)) AS best_hour, max(share) AS best_hour_share, any_value(quiet_from) AS quiet_from
    FROM smooth JOIN quiet USING (user_id) WHERE (hour - quiet_from + 24) % 24 >= 8 GROUP BY user_id
),
weekend AS (SELECT user_id, avg((isodow(local_day) >= 6)::INT) AS weekend_share FROM moment GROUP BY user_id),
mixes AS MATERIALIZED (
    SELECT user_id, what, list(value ORDER BY n DESC, value)[:3] AS listed, list(n / total ORDER BY n DESC, value)[:3] AS shares
    FROM (SELECT *, sum(n) OVER (PARTITION BY what, user_id) AS total FROM (
        SELECT user_id, 'hour' AS what, printf('%02d', local_hour) AS value, n FROM hour_counts
        UNION ALL SELECT user_id, 'weekday', isodow(local_day)::VARCHAR, count(*) FROM moment GROUP BY ALL
        UNION ALL SELECT user_id, 'region', region, count(*) FROM log WHERE region IS NOT NULL GROUP BY ALL
        UNION ALL SELECT user_id, 'device', device_id, count(*) FROM log WHERE device_id IS NOT NULL GROUP BY ALL
        UNION ALL SELECT user_id, 'channel', channel, count(*) FROM log WHERE channel IS NOT NULL GROUP BY ALL))
    GROUP BY user_id, what
),
interest AS MATERIALIZED (
    SELECT user_id, item_id, sum(floor(1e6 * CASE event_type WHEN 'view' THEN 1 WHEN 'favorite' THEN 3 WHEN 'cart' THEN 4 ELSE 8 END
           * exp(-ln(2) * age / 60) + 0.5)::BIGINT) AS weight
    FROM log WHERE event_type IN ('view', 'favorite', 'cart', 'purchase') GROUP BY ALL
),
item AS MATERIALIZED (
    SELECT item_id, category, brand, CASE WHEN price IS NOT NULL THEN 1 + 5 * (rank() OVER (PARTITION BY top, price IS NULL ORDER BY price) - 1)
           // count(price) OVER (PARTITION BY top) END AS band, top
    FROM (SELECT *, coalesce(split_part(category, '/', 1), '') AS top FROM read_parquet('{items}'))
),
tastes AS MATERIALIZED (
    SELECT user_id, what, list(value ORDER BY weight DESC, value)[:3] AS listed, list(weight / total ORDER BY weight DESC, value)[:3] AS shares
    FROM (SELECT *, sum(weight) OVER (PARTITION BY what, user_id) AS total FROM (
        SELECT user_id, 'category' AS what, category AS value, sum(weight) AS weight FROM interest JOIN item USING (item_id) WHERE category IS NOT NULL GROUP BY ALL
        UNION ALL SELECT user_id, 'brand', brand, sum(weight) FROM interest JOIN item USING (item_id) WHERE brand IS NOT NULL GROUP BY ALL
        UNION ALL SELECT user_id, 'band', band::VARCHAR, sum(weight) FROM interest JOIN item USING (item_id) WHERE band IS NOT NULL GROUP BY ALL)
        WHERE weight > 0)
    GROUP BY user_id, what
),
favourite AS (
    SELECT user_id, arg_min(top, (-n, top)) AS favourite_category FROM (
        SELECT user_id, top, count(*) AS n FROM bought JOIN item USING (item_id) WHERE category IS NOT NULL GROUP BY ALL) GROUP BY user_id
),
message AS (
    SELECT user_id, medium, coalesce(content, campaign) AS theme, event_type, count(*) AS n FROM log
    WHERE event_type IN ('message_sent', 'message_delivered', 'message_bounced', 'message_opened', 'message_clicked') GROUP BY ALL
),
messages AS (
    SELECT user_id, what, arm,
           greatest(coalesce(sum(n) FILTER (event_type = 'message_sent'), 0) - coalesce(sum(n) FILTER (event_type = 'message_bounced'), 0),
                    coalesce(sum(n) FILTER (event_type = 'message_delivered'), 0)) AS chances,
           greatest(coalesce(sum(n) FILTER (event_type = 'message_opened'), 0),
                    coalesce(sum(n) FILTER (event_type = 'message_clicked'), 0)) AS answers
    FROM (SELECT *, 'medium' AS what, medium AS arm FROM message UNION ALL SELECT *, 'theme', theme FROM message)
    WHERE arm IS NOT NULL GROUP BY ALL
),
coupon AS (
    SELECT user_id, 'coupon' AS what, ((value // pow(10, floor(log10(value)))) * pow(10, floor(log10(value))))::BIGINT::VARCHAR AS arm,
           count(*) AS chances, count(used) AS answers
    FROM read_parquet('{coupons}') LEFT JOIN (SELECT DISTINCT user_id, coupon_id, 1 AS used FROM bought WHERE coupon_id IS NOT NULL) USING (user_id, coupon_id)
    GROUP BY ALL
),
planned AS (
    SELECT item_id, day AS local_day, bool_or(promotion > 0) AS discount, bool_or(display > 0) AS display, bool_or(mailer > 0) AS mailer
    FROM read_parquet('{plan}') GROUP BY ALL
),
met AS (
    SELECT user_id, item_id, local_day, max((event_type = 'purchase')::INT) AS bought, any_value(discount) AS discount,
           any_value(display) AS display, any_value(mailer) AS mailer
    FROM log JOIN planned USING (item_id, local_day) WHERE event_type IN ('view', 'purchase')
    GROUP BY ALL HAVING bool_or(event_type = 'view')
),
promotion AS (
    SELECT user_id, 'promotion' AS what, arm, count(*) AS chances, sum(bought) AS answers FROM (
        SELECT user_id, 'discount' AS arm, bought FROM met WHERE discount
        UNION ALL SELECT user_id, 'display', bought FROM met WHERE display
        UNION ALL SELECT user_id, 'mailer', bought FROM met WHERE mailer) GROUP BY ALL
),
chances AS MATERIALIZED (
    SELECT user_id, what, arm, chances AS n, least(answers, chances) AS k FROM (
        FROM messages UNION ALL FROM coupon UNION ALL FROM promotion) WHERE chances > 0
),
arms AS (
    SELECT *, CASE WHEN k BETWEEN 1 AND n - 1 AND room > 0
        THEN greatest(0.001, least(0.999, (spread / (k / n * (1 - k / n)) - (g - 1)) / room)) ELSE 0.001 END AS correlation
    FROM (SELECT what, arm, sum(n) AS n, sum(k) AS k, count(*) AS g, sum(k * k / n) - sum(k) ** 2 / sum(n) AS spread,
                 sum(n) - sum(n * n) / sum(n) - (count(*) - 1) AS room FROM chances GROUP BY ALL)
),
answered AS MATERIALIZED (
    SELECT user_id, what, arg_max(arm, rate) AS best, max(rate) AS rate FROM (
        SELECT c.user_id, c.what, c.arm, (c.k + (1 / correlation - 1) * a.k / a.n) / (c.n + 1 / correlation - 1) AS rate
        FROM chances c JOIN arms a USING (what, arm) WHERE c.n >= 3 AND c.k > 0) GROUP BY ALL
),
occasion AS MATERIALIZED (
    SELECT user_id, item_id, price, list_price, ln(price / list_price) AS x, taken FROM (
        SELECT user_id, item_id, local_day, min(price) AS price, max((event_type <> 'view')::INT) AS taken, any_value(age) // 56 AS period
        FROM log WHERE event_type IN ('view', 'cart', 'purchase') AND price IS NOT NULL
        GROUP BY user_id, item_id, local_day HAVING bool_or(event_type = 'view') AND min(price) > 0)
    JOIN list_prices USING (item_id, period)
),
cell AS MATERIALIZED (
    SELECT item_id, x, count(*) AS seen, sum(taken) AS taken FROM occasion GROUP BY item_id, x
),
{newton}
strata AS (
    SELECT item_id, top, k, m, v, tx FROM (
        SELECT item_id, top, sum(taken) AS k, sum(seen * exp(-slope * x) * x) / sum(seen * exp(-slope * x)) AS m,
               sum(seen * exp(-slope * x) * x * x) / sum(seen * exp(-slope * x)) - m * m AS v, sum(taken * x) AS tx
        FROM cell JOIN item USING (item_id) CROSS JOIN newton_4 GROUP BY item_id, top)
),
tops AS (
    SELECT top, sum(k * m - tx) AS score, greatest(sum(k * greatest(v, 0)), 1e-12) AS information FROM strata GROUP BY top
),
between_tops AS (
    SELECT CASE WHEN room > 1e-12 THEN greatest(0, (q - (n - 1)) / room) ELSE 0 END AS variance FROM (
        SELECT sum(score * score / information) AS q, count(*) AS n,
               sum(information) - sum(information * information) / sum(information) AS room FROM tops)
),
slopes AS (
    SELECT top, slope + score * variance / (information * variance + 1) AS slope FROM tops CROSS JOIN between_tops CROSS JOIN newton_4
),
appeal AS MATERIALIZED (
    SELECT item_id, slope, (k + 5 * sum(k) OVER () / sum(expected) OVER ()) / (expected + 5) AS appeal FROM (
        SELECT item_id, any_value(slope) AS slope, sum(taken) AS k, sum(seen * exp(-slope * x)) AS expected
        FROM cell JOIN item USING (item_id) JOIN slopes USING (top) GROUP BY item_id)
),
sensitive AS (
    SELECT user_id, es / e + ((k + 10) / (e + 10) * ex - tx) / ((k + 10) / (e + 10) * exx + 1) AS price_sensitivity,
           (k + 10) / (e + 10) * exx AS price_information
    FROM (SELECT user_id, sum(w) AS e, sum(w * x) AS ex, sum(w * x * x) AS exx, sum(w * slope) AS es, sum(taken) AS k, sum(taken * x) AS tx
          FROM (SELECT *, appeal * exp(-slope * x) AS w FROM occasion JOIN appeal USING (item_id)) GROUP BY user_id)
),
outside AS (
    SELECT user_id, membership, timezone('{zone}', signup_at)::DATE AS signup_day, COLUMNS('^tag_') FROM read_parquet('{users}')
)
SELECT s.user_id, first_interaction_day, last_interaction_day, num_interactions, first_purchase_day, last_purchase_day,
       recency_days, coalesce(frequency, 0) AS frequency, coalesce(monetary, 0) AS monetary, recency_score, frequency_score,
       monetary_score, monetary / frequency AS average_basket,
       CASE WHEN last_purchase_day IS NULL THEN 'prospect'
            WHEN DATE '{as_of}' - first_purchase_day <= 30 THEN 'new' WHEN recency_days <= 30 THEN 'active'
            WHEN recency_days <= 180 AND DATE '{as_of}' - last_interaction_day <= 90 THEN 'cooling'
            WHEN recency_days > 180 THEN 'churned' ELSE 'dormant' END AS lifecycle,
       favourite_category, last_region, last_device_id,
       (frequency - 1) / frequency AS repeat_rate, rebuy_share, all_units / frequency AS units_per_order, days_between_orders,
       CASE WHEN monetary > 0 THEN coalesce(refunded, 0) END AS refunded, CASE WHEN monetary > 0 THEN least(1, coalesce(refunded, 0) / monetary) END AS refund_rate,
       coalesce(cheap, 0) / priced AS discount_share,
       num_visits, num_visits_28d, active_days, depth, views_per_visit, dwell_seconds, visit_conversion,
       num_moments, best_hour, best_hour_share, quiet_from, (quiet_from + 8) % 24 AS quiet_until, weekend_share,
       mh.listed AS active_hours, mw.listed AS active_weekdays, mr.listed AS regions, mr.shares AS regions_shares,
       md.listed AS devices, md.shares AS devices_shares, mc.listed AS channels, mc.shares AS channels_shares,
       tc.listed AS preferred_categories, tc.shares AS preferred_categories_shares, tb.listed AS preferred_brands,
       tb.shares AS preferred_brands_shares, tp.listed AS preferred_price_bands, tp.shares AS preferred_price_bands_shares,
       am.best AS best_medium, am.rate AS best_medium_rate, ath.best AS best_theme, ath.rate AS best_theme_rate,
       ac.best AS best_coupon, ac.rate AS best_coupon_rate, ap.best AS best_promotion, ap.rate AS best_promotion_rate,
       price_sensitivity, price_information, growth_stage,
       [['lost', 'hibernating', 'at_risk', 'cannot_lose', 'cannot_lose'],
        ['hibernating', 'about_to_sleep', 'need_attention', 'at_risk', 'at_risk'],
        ['promising', 'about_to_sleep', 'need_attention', 'loyal', 'loyal'],
        ['promising', 'potential_loyalist', 'potential_loyalist', 'loyal', 'champion'],
        ['new', 'potential_loyalist', 'potential_loyalist', 'champion', 'champion']
       ][recency_score][(frequency_score + monetary_score + 1) // 2] AS rfm_segment, membership, signup_day, COLUMNS('^tag_')
FROM seen s
LEFT JOIN acts USING (user_id) LEFT JOIN latest USING (user_id) LEFT JOIN scored USING (user_id)
LEFT JOIN growth USING (user_id) LEFT JOIN gaps USING (user_id) LEFT JOIN sent_back USING (user_id) LEFT JOIN visitors USING (user_id)
LEFT JOIN totals USING (user_id) LEFT JOIN best USING (user_id) LEFT JOIN weekend USING (user_id)
LEFT JOIN favourite USING (user_id) LEFT JOIN sensitive USING (user_id) LEFT JOIN outside USING (user_id)
LEFT JOIN mixes mh ON mh.user_id = s.user_id AND mh.what = 'hour' LEFT JOIN mixes mw ON mw.user_id = s.user_id AND mw.what = 'weekday'
LEFT JOIN mixes mr ON mr.user_id = s.user_id AND mr.what = 'region' LEFT JOIN mixes md ON md.user_id = s.user_id AND md.what = 'device'
LEFT JOIN mixes mc ON mc.user_id = s.user_id AND mc.what = 'channel'
LEFT JOIN tastes tc ON tc.user_id = s.user_id AND tc.what = 'category' LEFT JOIN tastes tb ON tb.user_id = s.user_id AND tb.what = 'brand'
LEFT JOIN tastes tp ON tp.user_id = s.user_id AND tp.what = 'band'
LEFT JOIN answered am ON am.user_id = s.user_id AND am.what = 'medium' LEFT JOIN answered ath ON ath.user_id = s.user_id AND ath.what = 'theme'
LEFT JOIN answered ac ON ac.user_id = s.user_id AND ac.what = 'coupon' LEFT JOIN answered ap ON ap.user_id = s.user_id AND ap.what = 'promotion'
ORDER BY s.user_id
