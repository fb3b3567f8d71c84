-- view -> cart -> purchase by user, in order, anything in between, 14 days from the view: written by hand for DuckDB.
-- One row a user: deepest step and when each was reached, in the first of its deepest attempts, from the last view
-- that leads there and the first cart after it; events of one instant in the order of the steps. {log} stands for the Parquet file of events.
WITH steps AS (
    SELECT user_id, event_id, event_type, epoch_us(ts) AS us
    FROM read_parquet({log})
    WHERE for_analytics AND event_type IN ('view', 'cart', 'purchase')),
viewed AS (  -- the last view and the last cart before each event
    SELECT user_id, event_id, event_type, us,
        max(us) FILTER (event_type = 'view') OVER so_far AS view_us,
        max(us) FILTER (event_type = 'cart') OVER so_far AS cart_us
    FROM steps
    WHERE event_type IN ('view', 'cart')
    WINDOW so_far AS (PARTITION BY user_id ORDER BY us, event_type DESC, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
carted AS (  -- the first cart after a view
    SELECT user_id, event_id, view_us, us AS cart_us
    FROM viewed
    WHERE event_type = 'cart' AND us <= view_us + 14 * 86400000000 AND (cart_us IS NULL OR cart_us < view_us)),
followed AS (
    SELECT user_id, event_type, us,
        max(view_us) OVER so_far AS view_us, max(cart_us) OVER so_far AS cart_us
    FROM (SELECT user_id, event_id, 'cart' AS event_type, cart_us AS us, view_us, cart_us FROM carted
          UNION ALL BY NAME
          SELECT user_id, event_id, event_type, us FROM steps WHERE event_type = 'purchase')
    WINDOW so_far AS (PARTITION BY user_id ORDER BY us, event_type, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
entered AS (SELECT user_id, min(us) AS view_us FROM steps WHERE event_type = 'view' GROUP BY user_id),
two AS (SELECT user_id, min(view_us) AS view_us, min(cart_us) AS cart_us FROM carted GROUP BY user_id),
three AS (
    SELECT user_id, min(view_us) AS view_us, min(cart_us) AS cart_us, min(us) AS purchase_us
    FROM followed WHERE event_type = 'purchase' AND us <= view_us + 14 * 86400000000 GROUP BY user_id)
SELECT user_id,
    CASE WHEN three.user_id IS NOT NULL THEN 3 WHEN two.user_id IS NOT NULL THEN 2 ELSE 1 END AS deepest,
    coalesce(three.view_us, two.view_us, entered.view_us) AS step_1_us,
    coalesce(three.cart_us, two.cart_us) AS step_2_us,
    three.purchase_us AS step_3_us
FROM entered LEFT JOIN two USING (user_id) LEFT JOIN three USING (user_id)
