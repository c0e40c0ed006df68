"""Other people's clients use our server; ``make interop`` prints what came of it as one table."""
