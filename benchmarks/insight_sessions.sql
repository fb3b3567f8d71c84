-- What an analyst writes by hand for the visit of each event: the thirty-minute rule, over {events}.
-- features.tables.sessions.session_events answers the same where no event has a session id, and honours the ids of those that do.
SELECT event_id, user_id, 'gap ' || sum(opens) OVER (PARTITION BY user_id ORDER BY ts, event_id) AS visit_id
FROM (
    SELECT event_id, user_id, ts,
           CASE WHEN ts - lag(ts) OVER (PARTITION BY user_id ORDER BY ts, event_id) <= INTERVAL 30 MINUTE THEN 0 ELSE 1 END AS opens
    FROM {events}
    WHERE event_type IN ('view', 'view_section', 'search', 'favorite', 'cart', 'remove_from_cart', 'checkout', 'purchase', 'login')
)
