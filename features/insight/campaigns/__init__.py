"""Whether a campaign paid: before and after, beside others, messages down to purchases, coupons, and who was reached."""
