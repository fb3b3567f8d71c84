"""Items by days or weeks: what sold, what was known ahead, and what was known only afterwards."""
