#!/bin/sh
# The calls of an app, with curl: FOOTFALL=https://footfall.example KEY=... sh curl.sh CUSTOMER ITEM
set -eu
FOOTFALL=${FOOTFALL:-http://127.0.0.1:3000}
customer=${1:-ann}
item=${2:-i1}
call() {
    curl --silent --show-error --fail-with-body --max-time 5 --retry 3 \
        --header "authorization: Bearer ${KEY:-}" --header 'content-type: application/json' "$@"
    echo
}

# What the customer just did. The id makes a second sending count once.
call "$FOOTFALL/v1/events" --data "{\"events\": [
    {\"event_id\": \"$customer-$item-1\", \"user_id\": \"$customer\", \"event_type\": \"cart\", \"item_id\": \"$item\"}]}"

# The next answer knows it.
call "$FOOTFALL/v1/recommend" --data "{\"user_id\": \"$customer\", \"k\": 5, \"explain\": true}"
call "$FOOTFALL/v1/recommend" --data "{\"surface\": \"bought_together\", \"item_id\": \"$item\", \"k\": 5}"

# Who they are, and what is in the cart.
call "$FOOTFALL/v1/customers/$customer"

# What an item is, and what it will sell.
call "$FOOTFALL/v1/items" --data "{\"item_ids\": [\"$item\"]}"
