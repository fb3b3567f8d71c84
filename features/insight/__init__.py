"""What happened and what worked: one package a question, each a set of table functions and small types."""
