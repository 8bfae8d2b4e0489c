"""Data whose answer is known: models, maps, half maps, noise, and defects planted with a dose."""
