"""Which checks apply, what they need, in which order, and where the results go."""
