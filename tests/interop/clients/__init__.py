"""What runs beside the clients that are somebody else's: one script a language."""
