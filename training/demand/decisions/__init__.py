"""What follows from a forecast: orders, alerts, and questions about another plan."""
